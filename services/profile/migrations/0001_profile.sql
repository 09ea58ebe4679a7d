create schema if not exists profile;

-- One row holds all traits of a person, so that a read is one probe; under 2 KB it stays in the row.
create table profile.profile (
    profile_id  uuid primary key,
    version     bigint not null,
    state       text not null check (state in ('active', 'merged', 'erasing', 'erased')),
    traits      jsonb not null default '{}',          -- by numeric trait id, see schema.rs
    email       bytea,                                -- exact bytes: some addresses in use break RFC 5321
    email_class text,
    locale      text not null check (locale in ('ja', 'en', 'fr')),
    time_zone   text,
    restricted  boolean not null default false,
    created_at  timestamptz not null,
    changed_at  timestamptz not null,
    check ((email is null) = (email_class is null))
) with (fillfactor = 80);                             -- updates stay on their page

-- Look-up keys; an address is here by its folded key. Unique over all profiles that hold keys, which only active ones do.
create table profile.external_id (
    type        text not null,
    value       bytea not null,
    profile_id  uuid not null references profile.profile,
    primary key (type, value)
);
create index external_id_profile on profile.external_id (profile_id);

-- How far each user of identity has been followed: an older state of the user changes nothing.
create table profile.user_link (
    user_id     uuid primary key,
    profile_id  uuid not null references profile.profile,
    version     bigint not null
);

-- Append-only, with the fields of ISO/IEC TS 27560:2023.
create table profile.consent_record (
    record_id       uuid primary key,
    profile_id      uuid not null references profile.profile,
    purpose         text not null,
    recipient       text not null default '',
    status          text not null check (status in ('given', 'refused', 'withdrawn')),
    controller      text not null,
    lawful_basis    text not null,
    notice_version  integer,
    notice_language text,
    notice_sha256   bytea,
    method          text not null,
    client_id       text not null,
    at              timestamptz not null,
    valid_until     timestamptz,
    check (status <> 'given' or notice_sha256 is not null)
);
create index consent_record_profile on profile.consent_record (profile_id, at desc, record_id desc);
-- CheckConsents as of a past time asks for the newest record of a key up to then.
create index consent_record_key on profile.consent_record (purpose, recipient, profile_id, at desc, record_id desc);

-- The newest answer for each purpose and recipient: one row a person.
create table profile.consent_state (
    profile_id  uuid primary key references profile.profile,
    version     bigint not null,
    heads       jsonb not null
) with (fillfactor = 80);

-- The words to which people agree; a published notice never changes.
create table profile.notice (
    purpose      text not null,
    recipient    text not null default '',
    language     text not null check (language in ('ja', 'en', 'fr')),
    version      integer not null check (version > 0),
    body         text not null,
    sha256       bytea not null,
    published_at timestamptz not null,
    primary key (purpose, recipient, language, version)
);

-- Writes that were done, by the caller's id, so that a repeat has the first one's effect. Kept for 24 h.
create table profile.request (
    request_id  uuid primary key,
    body_sha256 bytea not null,
    at          timestamptz not null
);
create index request_at on profile.request (at);

-- What crate outbox needs in a service's schema. A service copies this text into its first migration with profile
-- replaced by its short name; the crate's tests run the same text. One role owns the schema and runs the service,
-- since the relay makes and drops the daily partitions.

-- cache 1 (the default, spelled out): a session that drew a range of numbers ahead would use an old one later, and
-- two facts of one aggregate would be sent in the wrong order.
create sequence profile.outbox_seq cache 1;

-- Where a row stands among the windows that the relay reads: the greater of its transaction's id and the highest
-- transaction id that was over when the row was appended.
-- The raw transaction id would be a wrong key: a transaction that got its id early (an inbox claim does that) may wait
-- for the aggregate and commit second with the smaller id. The first one gives the aggregate up before the second
-- takes it, so the second one's append sees the first as over, and its position is not smaller. Rows of one position
-- are ordered by seq, which is drawn under the aggregate's lock.
-- Volatile and a function on purpose: it takes its own snapshot. An inline expression would read the statement's
-- snapshot, taken before the wait for the lock, when lock and append are one statement, and would invert the order.
create function profile.outbox_position() returns bigint language plpgsql volatile as $$ begin
    return greatest((pg_current_xact_id()::text)::bigint, (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint - 1);
end $$;

-- Facts on their way to Kafka. id, aggregatetype (the topic), aggregateid (the key), type and payload are the names of
-- Debezium's outbox router, so that a site may put it in the place of our relay. A payload of null is a tombstone.
create table profile.outbox (
    day           date        not null default (clock_timestamp() at time zone 'utc')::date, -- not now(): that is the transaction's start
    seq           bigint      not null default nextval('profile.outbox_seq'),
    position      bigint      not null default profile.outbox_position(),
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
create index outbox_position_seq on profile.outbox (position, seq);

-- How far the relay is: every row up to (position, seq) was acknowledged by Kafka.
-- A copy of the database that was restored elsewhere has another system identifier, or after a recovery another
-- timeline, and its transaction ids start low: the relay refuses it until an operator says what it is.
create table profile.relay_cursor (
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
insert into profile.relay_cursor default values;

-- What a relay that lost its leadership may still have had in flight. Its successor sends these keys' rows again.
create table profile.relay_fence (
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
create table profile.relay_end (
    topic      text    not null,
    partition  integer not null,
    end_offset bigint  not null,
    primary key (topic, partition)
);

-- Topics whose rows an operator has sent again, from a day on. The relay does it and takes the row away.
create table profile.relay_resend (
    topic    text        primary key,
    from_day date        not null,
    asked_at timestamptz not null default now()
);

-- Which facts a consumer has taken in. The day is the one inside the fact's UUIDv7, so that a repeat meets its key.
-- Ids of other days than the present ones (a consumer that starts at the beginning of a state topic) go to inbox_old.
create table profile.inbox (
    day        date        not null,
    consumer   text        not null,
    event_id   uuid        not null,
    claimed_at timestamptz not null default now(),
    primary key (day, consumer, event_id)
) partition by range (day);
create table profile.inbox_old partition of profile.inbox for values from (minvalue) to ('2000-01-01');
create index inbox_old_claimed_at on profile.inbox_old (claimed_at);

-- Records that failed three times, and the later ones of their keys, which wait behind them. Other keys go on.
create table profile.parked_record (
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
create index parked_record_key on profile.parked_record (consumer, topic, record_key, record_offset);
create index parked_record_next_at on profile.parked_record (consumer, topic, partition, next_at);

-- Consumers that are stopped: they leave their group and take nothing in until an operator lets them go on.
create table profile.paused_consumer (
    consumer  text        primary key,
    refusal   text,                 -- why it stopped itself, since records are gone; null: an operator stopped it
    anew      text,                 -- the topic that was made anew, where that is why
    paused_at timestamptz not null default now()
);

-- How far a consumer is in each partition, at most a minute old while it works: everything that was there at read_at was
-- taken in. Kafka forgets a group's offsets with the topic or with time; these say whether records are gone in between.
create table profile.consumer_place (
    consumer    text        not null,
    topic       text        not null,
    partition   integer     not null,
    next_offset bigint      not null,
    read_at     timestamptz not null,
    primary key (consumer, topic, partition)
);

-- Makes the daily partitions of outbox and inbox from p_from to p_to. There is no default partition: attaching beside one
-- scans it under a lock. Created plain and attached, since `create table ... partition of` locks the parent exclusively.
create function profile.make_days(p_from date, p_to date) returns integer language plpgsql as $$
declare
    parent text;
    child  text;
    on_day date;
    made   integer := 0;
begin
    -- One at a time: two processes that start together would both create the same day.
    perform pg_advisory_xact_lock(hashtext('profile.make_days'));
    foreach parent in array array['outbox', 'inbox'] loop
        for on_day in select generate_series(p_from, p_to, interval '1 day')::date loop
            child := parent || '_' || to_char(on_day, 'YYYYMMDD');
            continue when to_regclass('profile.' || child) is not null;
            execute format('create table profile.%I (like profile.%I including all)', child, parent);
            execute format(
                'alter table profile.%I attach partition profile.%I for values from (%L) to (%L)',
                parent, child, on_day, on_day + 1);
            made := made + 1;
        end loop;
    end loop;
    return made;
end $$;
-- Three days back for facts that wait in Kafka, seven ahead so that a week without the relay's maintenance stops nothing.
select profile.make_days((clock_timestamp() at time zone 'utc')::date - 3, (clock_timestamp() at time zone 'utc')::date + 7);
