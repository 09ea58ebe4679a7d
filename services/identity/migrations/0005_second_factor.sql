-- Passkeys, one-time passwords (TOTP), recovery codes, and by what a session's user signed in.

create table identity.passkey (
    credential_id   bytea primary key,              -- chosen by the authenticator, at most 1023 bytes
    user_id         uuid not null references identity.user,
    public_key      bytea not null,                 -- COSE_Key, as it was registered
    sign_count      bigint not null,                -- 0 for ever where the authenticator does not count
    backup_eligible boolean not null,
    backed_up       boolean not null,
    name            text not null,
    created_at      timestamptz not null,
    used_at         timestamptz
) with (fillfactor = 70);
create index passkey_user on identity.passkey (user_id);

-- A challenge that was answered rightly: it is not taken a second time. Only success writes.
create table identity.spent_ceremony (
    ceremony_id uuid primary key
) partition by range (ceremony_id);
create table identity.spent_ceremony_default partition of identity.spent_ceremony default;

create table identity.totp (
    user_id       uuid primary key references identity.user,
    sealed_secret bytea not null,
    last_step     bigint not null,                  -- of the last code that was taken: no code is taken twice
    created_at    timestamptz not null
) with (fillfactor = 70);

create table identity.recovery_code (
    user_id uuid not null references identity.user,
    n       smallint not null,
    hmac    bytea not null,                         -- keyed: without the keys a code cannot be found by trying
    used_at timestamptz,
    primary key (user_id, n)
) with (fillfactor = 70);

-- pwd_at stays the time of the last sign-in by password or passkey, since older programs read it as that and write
-- nothing else. A factor counts when its time is not before it.
alter table identity.browser_session
    add column passkey_at timestamptz,
    add column otp_at     timestamptz;
