-- identity: users, credentials, clients, sessions, grants, signing keys.
-- Tables whose key is a UUIDv7 and whose rows expire are range-partitioned on that key: look-ups prune and clean-up is
-- `drop partition`. They start with a default partition. No foreign key points at them.
-- No row holds a secret or the hash of a handle: codes, cookies, refresh tokens and mail links are MACs over row ids.

create schema if not exists identity;

create table identity.user (
    user_id    uuid primary key,
    version    bigint not null,                     -- orders the user's facts
    status     text not null check (status in ('active', 'disabled', 'erased')),
    locale     text not null,
    origin     text not null,                       -- sign_up, import or upstream
    client_id  text not null,                       -- where the user registered; '' when at none
    created_at timestamptz not null,
    seen_on    date not null
) with (fillfactor = 70);

create table identity.user_email (
    user_id     uuid primary key references identity.user,
    address     bytea not null,                     -- exact bytes: some addresses in use break RFC 5321
    class       text not null,
    address_key text collate "C" not null,          -- "C": one index serves exact and prefix search
    verified_at timestamptz not null,
    constraint user_email_address_key unique (address_key)
) with (fillfactor = 70);

create table identity.password (
    user_id   uuid primary key references identity.user,
    phc       text not null,
    pepper_id text not null,                        -- line of the KEK file under which the hash was made
    set_at    timestamptz not null
);

create table identity.client (
    client_id                  text primary key,
    name                       text not null,
    kind                       text not null check (kind in ('first_party', 'partner')),
    token_endpoint_auth_method text not null
        check (token_endpoint_auth_method in ('client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none')),
    secret_sha256              bytea,                -- of 256 random bits: no slow hash needed
    jwks                       jsonb,
    redirect_uris              text[] not null,
    post_logout_redirect_uris  text[] not null,
    backchannel_logout_uri     text,
    grant_types                text[] not null,
    scopes                     text[] not null,
    audiences                  text[] not null,
    pkce_required              boolean not null,
    version                    bigint not null,
    updated_at                 timestamptz not null
);

create table identity.consent (
    user_id    uuid not null references identity.user,
    client_id  text not null references identity.client,
    scopes     text[] not null,
    granted_at timestamptz not null,
    primary key (user_id, client_id)
);

create table identity.staff_grant (
    user_id    uuid not null references identity.user,
    scope      text not null,
    granted_by text not null,
    granted_at timestamptz not null,
    primary key (user_id, scope)
);

-- Staff named by address in the bootstrap file: becomes a grant once a user with that verified address exists.
create table identity.staff_nomination (
    address_key  text collate "C" not null,
    scope        text not null,
    nominated_at timestamptz not null,
    primary key (address_key, scope)
);

create table identity.browser_session (
    session_id uuid primary key,
    user_id    uuid not null,
    epoch      integer not null,                    -- in the cookie too: raised when somebody signs in again
    pwd_at     timestamptz not null,
    created_at timestamptz not null,
    seen_at    timestamptz not null,
    expires_at timestamptz not null,
    ended_at   timestamptz,
    cause      text
) partition by range (session_id);
create table identity.browser_session_default partition of identity.browser_session default;
create index browser_session_user on identity.browser_session (user_id) where ended_at is null;

-- Which relying parties learn of the session's end.
create table identity.session_client (
    session_id uuid not null,
    client_id  text not null,
    primary key (session_id, client_id)
) partition by range (session_id);
create table identity.session_client_default partition of identity.session_client default;

create table identity.authorization_code (
    code_id        uuid primary key,
    client_id      text not null,
    user_id        uuid not null,
    session_id     uuid not null,
    redirect_uri   text not null,
    code_challenge text,
    nonce          text,
    scopes         text[] not null,
    resources      text[] not null,
    acr            text not null,
    amr            text[] not null,
    auth_time      timestamptz not null,
    issued_at      timestamptz not null,
    expires_at     timestamptz not null,
    consumed_at    timestamptz
) partition by range (code_id);
create table identity.authorization_code_default partition of identity.authorization_code default;

-- A row a grant, not a token: token n is a MAC over (family, n), so rotation is one update of a narrow row.
create table identity.token_family (
    family_id     uuid primary key,                 -- = code_id
    client_id     text not null,
    user_id       uuid not null,
    session_id    uuid not null,
    scopes        text[] not null,
    resources     text[] not null,
    acr           text not null,
    amr           text[] not null,
    auth_time     timestamptz not null,
    offline       boolean not null,                 -- offline_access: outlives the session
    seq           integer not null,
    superseded_at timestamptz[] not null,           -- of the last four tokens, newest first
    used_at       timestamptz not null,
    expires_at    timestamptz not null,
    revoked_at    timestamptz
) partition by range (family_id);
create table identity.token_family_default partition of identity.token_family default with (fillfactor = 70);
create index token_family_session on identity.token_family (session_id) where revoked_at is null;

-- A mail to prove an address. The row is the outbox of the mail: link and code are derived from it, never stored.
create table identity.email_challenge (
    challenge_id uuid primary key,
    purpose      text not null check (purpose in ('sign_up', 'address_taken')),
    address      bytea not null,
    class        text not null,
    locale       text not null,
    client_id    text not null,
    progress     bytea,                             -- the sealed authorization request; only its browser can open it
    failures     integer not null,
    mail_state   text not null check (mail_state in ('pending', 'sent', 'expired')),
    attempts     integer not null,
    next_at      timestamptz not null,
    created_at   timestamptz not null,
    expires_at   timestamptz not null,
    consumed_at  timestamptz
) partition by range (challenge_id);
create table identity.email_challenge_default partition of identity.email_challenge default;
create index email_challenge_mail on identity.email_challenge (next_at) where mail_state = 'pending';

create table identity.throttle (
    kind     text not null,
    key_hash bytea not null,                        -- keyed: neither an address nor an IP can be read back
    failures integer not null,
    first_at timestamptz not null,
    until    timestamptz not null,
    primary key (kind, key_hash)
) with (fillfactor = 70);

create table identity.logout_delivery (
    delivery_id uuid primary key,                   -- also the jti, the same on each try
    session_id  uuid not null,
    user_id     uuid not null,
    client_id   text not null,
    sid         text not null,
    cause       text not null,
    state       text not null check (state in ('pending', 'delivered', 'abandoned')),
    attempts    integer not null,
    next_at     timestamptz not null,
    last_status integer not null,                   -- 0: no answer
    created_at  timestamptz not null
) partition by range (delivery_id);
create table identity.logout_delivery_default partition of identity.logout_delivery default;
create index logout_delivery_due on identity.logout_delivery (next_at) where state = 'pending';

create table identity.signing_key (
    kid            text primary key,
    alg            text not null check (alg = 'ES256'),
    public_jwk     jsonb not null,
    sealed_private bytea not null,
    state          text not null check (state in ('staged', 'active', 'retired')),
    created_at     timestamptz not null
);
-- Two instances that start at once agree on one key.
create unique index signing_key_active on identity.signing_key (alg) where state = 'active';

create table identity.audit_record (
    audit_id  uuid primary key,
    at        timestamptz not null,
    actor     text not null,                        -- a user id, a client id or `system`
    action    text not null,
    subject   text not null,
    client_id text not null,
    outcome   text not null,
    ip_hmac   bytea,
    detail    jsonb not null
) partition by range (audit_id);
create table identity.audit_record_default partition of identity.audit_record default;

-- What crate outbox needs in a service's schema. A service copies this text into its first migration with identity
-- replaced by its short name; the crate's tests run the same text. One role owns the schema and runs the service,
-- since the relay makes and drops the daily partitions.

-- cache 1 (the default, spelled out): a session that drew a range of numbers ahead would use an old one later, and
-- two facts of one aggregate would be sent in the wrong order.
create sequence identity.outbox_seq cache 1;

-- Where a row stands among the windows that the relay reads: the greater of its transaction's id and the highest
-- transaction id that was over when the row was appended.
-- The raw transaction id would be a wrong key: a transaction that got its id early (an inbox claim does that) may wait
-- for the aggregate and commit second with the smaller id. The first one gives the aggregate up before the second
-- takes it, so the second one's append sees the first as over, and its position is not smaller. Rows of one position
-- are ordered by seq, which is drawn under the aggregate's lock.
-- Volatile and a function on purpose: it takes its own snapshot. An inline expression would read the statement's
-- snapshot, taken before the wait for the lock, when lock and append are one statement, and would invert the order.
create function identity.outbox_position() returns bigint language plpgsql volatile as $$ begin
    return greatest((pg_current_xact_id()::text)::bigint, (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint - 1);
end $$;

-- Facts on their way to Kafka. id, aggregatetype (the topic), aggregateid (the key), type and payload are the names of
-- Debezium's outbox router, so that a site may put it in the place of our relay. A payload of null is a tombstone.
create table identity.outbox (
    day           date        not null default (clock_timestamp() at time zone 'utc')::date, -- not now(): that is the transaction's start
    seq           bigint      not null default nextval('identity.outbox_seq'),
    position      bigint      not null default identity.outbox_position(),
    id            uuid        not null,
    aggregatetype text        not null,
    aggregateid   text        not null,
    type          text        not null,
    payload       bytea,
    version       bigint      not null,
    occurred_at   timestamptz not null,
    traceparent   text,
    tracestate    text,
    primary key (day, seq)
) partition by range (day);
create index outbox_position_seq on identity.outbox (position, seq);

-- How far the relay is: every row up to (position, seq) was acknowledged by Kafka.
-- A copy of the database that was restored elsewhere has another system identifier, or after a recovery another
-- timeline, and its transaction ids start low: the relay refuses it until an operator says what it is.
create table identity.relay_cursor (
    only_row          boolean     primary key default true check (only_row),
    position          bigint      not null default 0,
    seq               bigint      not null default 0,
    generation        integer     not null default 0 check (generation between 0 and 32767), -- high bits of kotinos_version
    system_identifier bigint,
    timeline          integer,
    leader            text,                 -- who sends; null after it signed off
    refusal           text,                 -- why the last leader sends nothing until an operator says more
    saved_at          timestamptz not null default now()
);
insert into identity.relay_cursor default values;

-- What a relay that lost its leadership may still have had in flight. Its successor sends these keys' rows again.
create table identity.relay_fence (
    relay_fence_id bigint      generated always as identity primary key,
    from_position  bigint      not null,
    from_seq       bigint      not null,
    to_position    bigint      not null,
    to_seq         bigint      not null,
    leader         text        not null,
    written_at     timestamptz not null default now(),
    closed_at      timestamptz
);

-- Behind the last record of the relay in each partition, up to a second ago. Only the relay writes to these topics, so a
-- partition that ends before it has lost records: the topic was made anew, or the broker lost its disk.
create table identity.relay_end (
    topic      text    not null,
    partition  integer not null,
    end_offset bigint  not null,
    primary key (topic, partition)
);

-- Topics whose rows an operator has sent again, from a day on. The relay does it and takes the row away.
create table identity.relay_resend (
    topic    text        primary key,
    from_day date        not null,
    asked_at timestamptz not null default now()
);

-- Which facts a consumer has taken in. The day is the one inside the fact's UUIDv7, so that a repeat meets its key.
-- Ids of other days than the present ones (a consumer that starts at the beginning of a state topic) go to inbox_old.
create table identity.inbox (
    day        date        not null,
    consumer   text        not null,
    event_id   uuid        not null,
    claimed_at timestamptz not null default now(),
    primary key (day, consumer, event_id)
) partition by range (day);
create table identity.inbox_old partition of identity.inbox for values from (minvalue) to ('2000-01-01');
create index inbox_old_claimed_at on identity.inbox_old (claimed_at);

-- Records that failed three times, and the later ones of their keys, which wait behind them. Other keys go on.
create table identity.parked_record (
    consumer      text        not null,
    topic         text        not null,
    partition     integer     not null,
    record_key    text        not null,
    record_offset bigint      not null,
    event_id      uuid        not null,
    fact_type     text        not null,
    version       bigint      not null,
    occurred_at   timestamptz not null,
    payload       bytea,
    traceparent   text,
    tracestate    text,
    attempts      integer     not null default 0,
    class         text        not null check (class in ('failed', 'behind')), -- behind: not tried, its key is parked
    error         text,
    next_at       timestamptz,          -- null: after the last tier it waits for an operator; behind its key, for its turn
    parked_at     timestamptz not null default now(),
    primary key (consumer, topic, partition, record_offset)
);
create index parked_record_key on identity.parked_record (consumer, topic, record_key, record_offset);
create index parked_record_next_at on identity.parked_record (consumer, topic, partition, next_at);

-- Consumers that are stopped: they leave their group and take nothing in until an operator lets them go on.
create table identity.paused_consumer (
    consumer  text        primary key,
    refusal   text,                 -- why it stopped itself, since records are gone; null: an operator stopped it
    anew      text,                 -- the topic that was made anew, where that is why
    paused_at timestamptz not null default now()
);

-- How far a consumer is in each partition, at most a minute old while it works: everything that was there at read_at was
-- taken in. Kafka forgets a group's offsets with the topic or with time; these say whether records are gone in between.
create table identity.consumer_place (
    consumer    text        not null,
    topic       text        not null,
    partition   integer     not null,
    next_offset bigint      not null,
    read_at     timestamptz not null,
    primary key (consumer, topic, partition)
);

-- Makes the daily partitions of outbox and inbox from p_from to p_to. There is no default partition: attaching beside one
-- scans it under a lock. Created plain and attached, since `create table ... partition of` locks the parent exclusively.
create function identity.make_days(p_from date, p_to date) returns integer language plpgsql as $$
declare
    parent text;
    child  text;
    on_day date;
    made   integer := 0;
begin
    -- One at a time: two processes that start together would both create the same day.
    perform pg_advisory_xact_lock(hashtext('identity.make_days'));
    foreach parent in array array['outbox', 'inbox'] loop
        for on_day in select generate_series(p_from, p_to, interval '1 day')::date loop
            child := parent || '_' || to_char(on_day, 'YYYYMMDD');
            continue when to_regclass('identity.' || child) is not null;
            execute format('create table identity.%I (like identity.%I including all)', child, parent);
            execute format(
                'alter table identity.%I attach partition identity.%I for values from (%L) to (%L)',
                parent, child, on_day, on_day + 1);
            made := made + 1;
        end loop;
    end loop;
    return made;
end $$;
-- Three days back for facts that wait in Kafka, seven ahead so that a week without the relay's maintenance stops nothing.
select identity.make_days((clock_timestamp() at time zone 'utc')::date - 3, (clock_timestamp() at time zone 'utc')::date + 7);
