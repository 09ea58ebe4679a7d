-- A way back in by mail, and what guards it.

-- The purposes are the program's: a list here would have to change under running processes with each new one.
alter table identity.email_challenge drop constraint email_challenge_purpose_check;
alter table identity.email_challenge add column user_id uuid;     -- of whom; null where no user is needed or known

-- A new password revokes every grant of its user, those that outlive sessions too.
create index if not exists token_family_user on identity.token_family (user_id) where offline and revoked_at is null;
