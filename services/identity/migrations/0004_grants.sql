-- Grants: the feed of revocations, forms and lives of tokens, device grants.

-- A UUIDv7 (RFC 9562 5.7) by the database's clock: the feed is read by time, and the clocks of instances differ.
create function identity.clock_id() returns uuid language sql volatile as $$
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

-- The smallest UUIDv7 of a millisecond.
create function identity.first_id_of(at timestamptz) returns uuid language sql stable as $$
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

-- What ended before its time. Every instance reads the newest rows again and again, so that it knows without a question
-- whether an access token still counts. A family or a session is over for good; a user or a client may come back, and so
-- is looked up while it stands here.
create table identity.revocation (
    revocation_id uuid primary key default identity.clock_id(),
    family_id     uuid,
    session_id    uuid,
    user_id       uuid,
    client_id     text,
    at            timestamptz not null,
    check (num_nonnulls(family_id, session_id, user_id, client_id) = 1)
) partition by range (revocation_id);
create table identity.revocation_default partition of identity.revocation default;


alter table identity.client add column access_token_format text not null default 'jwt'
    check (access_token_format in ('jwt', 'reference'));
alter table identity.client add column access_token_seconds integer  -- null: the format's default
    check (access_token_seconds between 60 and 900);
alter table identity.client add column refresh_grace_seconds integer not null default 30
    check (refresh_grace_seconds between 0 and 120);

-- RFC 8628. The user code is eight consonants; a code that is over is free again once its row is swept.
create table identity.device_grant (
    device_id  uuid primary key,
    user_code  text collate "C" not null,
    client_id  text not null,
    scopes     text[] not null,
    resources  text[] not null,
    state      text not null check (state in ('pending', 'allowed', 'denied', 'redeemed')),
    user_id    uuid,                                -- who decided
    session_id uuid,
    acr        text,
    amr        text[],
    auth_time  timestamptz,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    -- The client's last question and the least time between two, raised by five seconds each time it is in a hurry.
    polled_at  timestamptz,
    every      integer not null                     -- seconds
) with (fillfactor = 70);
-- Not partitioned: a user code leads to one row, and a unique index over partitions cannot promise that. Rows are few and
-- live for minutes.
create unique index device_grant_user_code on identity.device_grant (user_code);
