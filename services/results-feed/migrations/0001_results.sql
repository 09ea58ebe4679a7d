create schema if not exists results;

-- One row a stream, and the sequencer: a writer locks it, so seq is without gaps and in commit order on any number of
-- replicas, without a leader.
create table results.stream (
    stream_id  text primary key,                      -- SYN2030-P, SYN2030-T
    epoch      text not null,                         -- changes only when committed entries were lost
    seq        bigint not null default 0,
    created_at timestamptz not null
);

-- The newest version of each document. Its body is in the log, so that an update stays on its page.
create table results.document (
    document_id      uuid primary key,
    handle           bigint generated always as identity unique, -- the document's short name in the feed
    stream_id        text not null references results.stream,
    competition_code text not null,
    document_code    text not null,                   -- an RSC; for some types a person's id or a number
    document_subcode text not null,
    document_type    text not null,
    document_subtype text not null,
    language         text not null,
    version          integer not null check (version > 0),
    result_status    text,
    sha256           bytea,                           -- null: invalidated before the version itself came
    invalidated      boolean not null,
    seq              bigint not null,                 -- of the entry that brought it
    unique (stream_id, document_code, document_type, document_subcode, document_subtype, language, competition_code)
) with (fillfactor = 80);
-- Filters are prefixes of codes.
create index document_code on results.document (stream_id, document_code text_pattern_ops, handle);

-- Everything that was taken, in the order in which readers see it. Patches are made when an entry is written, so that
-- every replica and every restart sends the same frames.
create table results.log (
    stream_id     text not null references results.stream,
    seq           bigint not null,
    kind          text not null check (kind in ('document', 'invalidation', 'late', 'entitlement')),
    document_id   uuid references results.document,
    client_id     text,                               -- whose rights changed
    version       integer,
    result_status text,
    base_version  integer,                            -- the version that readers hold; null: they hold none
    base_status   text,
    base_seq      bigint,
    conflatable   boolean not null,
    logical_date  date,
    source        text,
    raw           bytea,                              -- as sent
    canonical     bytea,
    patch         bytea,                              -- from base_version; null: send the whole document
    sha256        bytea,
    received_at   timestamptz not null,
    traceparent   text,
    primary key (stream_id, seq),
    check ((kind = 'entitlement') = (document_id is null)),
    check (kind = 'entitlement' or (version is not null and raw is not null))
);
create index log_document on results.log (document_id, seq desc);

-- Documents that could not be taken into the log, with what was wrong. Their senders were told that they arrived.
create table results.quarantine (
    quarantine_id uuid primary key,
    reason        text not null,
    publisher     text not null,                      -- key id or OAuth client
    raw           bytea not null,
    sha256        bytea not null,
    received_at   timestamptz not null
);
create index quarantine_received_at on results.quarantine (received_at desc, quarantine_id desc);
-- A sender that repeats a malformed document each five seconds fills one row.
create unique index quarantine_once on results.quarantine (publisher, sha256, reason);

-- Each unit's schedule is whole in its announcement, so a merge is a replacement.
create table results.unit_schedule (
    stream_id       text not null references results.stream,
    unit            text not null check (length(unit) = 34),
    version         bigint not null,
    schedule_status text not null,
    start_at        timestamptz,
    end_at          timestamptz,
    previous_start  timestamptz,
    venue           text not null,
    location        text not null,
    name            text not null,
    medal           boolean not null,
    changed_at      timestamptz not null,
    primary key (stream_id, unit)
) with (fillfactor = 80);
create index unit_schedule_start on results.unit_schedule (stream_id, start_at, unit);

-- Who may POST documents. The key itself is never kept, only its HMAC-SHA-256 under a pepper outside the database.
create table results.publisher_key (
    key_id     text primary key check (length(key_id) = 8),
    name       text not null,
    feed_flag  text not null check (feed_flag in ('P', 'T')),
    prefixes   text[] not null,                       -- empty: all
    sealed     bytea not null,
    created_at timestamptz not null,
    revoked_at timestamptz
);

-- What each client may read; without a row nothing beyond what `public` may.
create table results.entitlement (
    client_id  text primary key,
    version    bigint not null,
    rules      jsonb not null,
    changed_at timestamptz not null,
    changed_by text not null
);

-- What crate outbox needs in a service's schema. A service copies this text into its first migration with results
-- replaced by its short name; the crate's tests run the same text. One role owns the schema and runs the service,
-- since the relay makes and drops the daily partitions.

-- cache 1 (the default, spelled out): a session that drew a range of numbers ahead would use an old one later, and
-- two facts of one aggregate would be sent in the wrong order.
create sequence results.outbox_seq cache 1;

-- Where a row stands among the windows that the relay reads: the greater of its transaction's id and the highest
-- transaction id that was over when the row was appended.
-- The raw transaction id would be a wrong key: a transaction that got its id early (an inbox claim does that) may wait
-- for the aggregate and commit second with the smaller id. The first one gives the aggregate up before the second
-- takes it, so the second one's append sees the first as over, and its position is not smaller. Rows of one position
-- are ordered by seq, which is drawn under the aggregate's lock.
-- Volatile and a function on purpose: it takes its own snapshot. An inline expression would read the statement's
-- snapshot, taken before the wait for the lock, when lock and append are one statement, and would invert the order.
create function results.outbox_position() returns bigint language plpgsql volatile as $$ begin
    return greatest((pg_current_xact_id()::text)::bigint, (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint - 1);
end $$;

-- Facts on their way to Kafka. id, aggregatetype (the topic), aggregateid (the key), type and payload are the names of
-- Debezium's outbox router, so that a site may put it in the place of our relay. A payload of null is a tombstone.
create table results.outbox (
    day           date        not null default (clock_timestamp() at time zone 'utc')::date, -- not now(): that is the transaction's start
    seq           bigint      not null default nextval('results.outbox_seq'),
    position      bigint      not null default results.outbox_position(),
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
create index outbox_position_seq on results.outbox (position, seq);

-- How far the relay is: every row up to (position, seq) was acknowledged by Kafka.
-- A copy of the database that was restored elsewhere has another system identifier, or after a recovery another
-- timeline, and its transaction ids start low: the relay refuses it until an operator says what it is.
create table results.relay_cursor (
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
insert into results.relay_cursor default values;

-- What a relay that lost its leadership may still have had in flight. Its successor sends these keys' rows again.
create table results.relay_fence (
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
create table results.relay_end (
    topic      text    not null,
    partition  integer not null,
    end_offset bigint  not null,
    primary key (topic, partition)
);

-- Topics whose rows an operator has sent again, from a day on. The relay does it and takes the row away.
create table results.relay_resend (
    topic    text        primary key,
    from_day date        not null,
    asked_at timestamptz not null default now()
);

-- Which facts a consumer has taken in. The day is the one inside the fact's UUIDv7, so that a repeat meets its key.
-- Ids of other days than the present ones (a consumer that starts at the beginning of a state topic) go to inbox_old.
create table results.inbox (
    day        date        not null,
    consumer   text        not null,
    event_id   uuid        not null,
    claimed_at timestamptz not null default now(),
    primary key (day, consumer, event_id)
) partition by range (day);
create table results.inbox_old partition of results.inbox for values from (minvalue) to ('2000-01-01');
create index inbox_old_claimed_at on results.inbox_old (claimed_at);

-- Records that failed three times, and the later ones of their keys, which wait behind them. Other keys go on.
create table results.parked_record (
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
create index parked_record_key on results.parked_record (consumer, topic, record_key, record_offset);
create index parked_record_next_at on results.parked_record (consumer, topic, partition, next_at);

-- Consumers that are stopped: they leave their group and take nothing in until an operator lets them go on.
create table results.paused_consumer (
    consumer  text        primary key,
    refusal   text,                 -- why it stopped itself, since records are gone; null: an operator stopped it
    anew      text,                 -- the topic that was made anew, where that is why
    paused_at timestamptz not null default now()
);

-- How far a consumer is in each partition, at most a minute old while it works: everything that was there at read_at was
-- taken in. Kafka forgets a group's offsets with the topic or with time; these say whether records are gone in between.
create table results.consumer_place (
    consumer    text        not null,
    topic       text        not null,
    partition   integer     not null,
    next_offset bigint      not null,
    read_at     timestamptz not null,
    primary key (consumer, topic, partition)
);

-- Makes the daily partitions of outbox and inbox from p_from to p_to. There is no default partition: attaching beside one
-- scans it under a lock. Created plain and attached, since `create table ... partition of` locks the parent exclusively.
create function results.make_days(p_from date, p_to date) returns integer language plpgsql as $$
declare
    parent text;
    child  text;
    on_day date;
    made   integer := 0;
begin
    -- One at a time: two processes that start together would both create the same day.
    perform pg_advisory_xact_lock(hashtext('results.make_days'));
    foreach parent in array array['outbox', 'inbox'] loop
        for on_day in select generate_series(p_from, p_to, interval '1 day')::date loop
            child := parent || '_' || to_char(on_day, 'YYYYMMDD');
            continue when to_regclass('results.' || child) is not null;
            execute format('create table results.%I (like results.%I including all)', child, parent);
            execute format(
                'alter table results.%I attach partition results.%I for values from (%L) to (%L)',
                parent, child, on_day, on_day + 1);
            made := made + 1;
        end loop;
    end loop;
    return made;
end $$;
-- Three days back for facts that wait in Kafka, seven ahead so that a week without the relay's maintenance stops nothing.
select results.make_days((clock_timestamp() at time zone 'utc')::date - 3, (clock_timestamp() at time zone 'utc')::date + 7);
