-- Keys that change: those that sign, and those behind handles, seals and peppers.

alter table identity.signing_key drop constraint signing_key_alg_check;
alter table identity.signing_key
    add constraint signing_key_alg_check check (alg in ('ES256', 'RS256', 'PS256')),
    add column kek_id text,                         -- line of the KEK file that seals it; null: written by an older version
    add column activated_at timestamptz,
    add column retired_at timestamptz;
update identity.signing_key set activated_at = created_at where state = 'active';

-- Secrets that used to be lines of the KEK file themselves. They lie here, sealed by a line, so that lines may change.
create table identity.secret_key (
    purpose      text not null check (purpose in ('handle', 'pepper', 'root')),
    key_id       text not null,                     -- a pepper's is password.pepper_id
    sealed       bytea not null,
    kek_id       text not null,
    state        text not null check (state in ('staged', 'active', 'retired')),
    created_at   timestamptz not null,
    activated_at timestamptz,
    retired_at   timestamptz,
    primary key (purpose, key_id)
);
-- Two instances that start at once agree on one key.
create unique index secret_key_active on identity.secret_key (purpose) where state = 'active';

alter table identity.client
    add column id_token_signed_response_alg text not null default 'ES256'
        check (id_token_signed_response_alg in ('ES256', 'RS256', 'PS256'));
-- Whether an algorithm needs a key is asked each second.
create index client_rsa on identity.client (id_token_signed_response_alg)
    where id_token_signed_response_alg <> 'ES256';
