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

-- Which rows of the audit are sealed already. The order is the one in which transactions begin to write, so that whatever
-- is below the oldest open transaction is complete. Transaction ids start anew in a database that was restored elsewhere:
-- the generation stands above them.
create table identity.audit_chain (
    only_row          boolean primary key default true check (only_row),
    generation        bigint not null default 0 check (generation between 0 and 32767),
    system_identifier bigint                        -- of the cluster that wrote last
);
insert into identity.audit_chain default values;
create function identity.audit_position() returns bigint language sql volatile as $$
    select (select generation from identity.audit_chain) * 281474976710656 + pg_current_xact_id()::text::bigint
$$;
-- 0 for rows of before; the first seal covers them.
alter table identity.audit_record add column position bigint not null default 0;
alter table identity.audit_record alter column position set default identity.audit_position();
create index audit_record_position on identity.audit_record (position);

-- A MAC over the records from one position to another and over the seal before: a record that is changed, added or taken
-- away later breaks it, and so does a seal.
create table identity.audit_seal (
    seal_no       bigint primary key,
    from_position bigint not null,
    to_position   bigint not null,                  -- exclusive; where the next one starts
    records       bigint not null,
    mac           bytea not null,
    sealed_at     timestamptz not null
);

-- The deliveries of one relying party, so that a dead one is passed over at once.
create index logout_delivery_client on identity.logout_delivery (client_id, next_at) where state = 'pending';
alter table identity.logout_delivery add column retried_at timestamptz; -- an operator's new start of the day of tries

alter table identity.user add column erased_at timestamptz;
