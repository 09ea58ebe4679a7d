-- A range of a stream that is sent again into a stream of its own, SYN2030-R<n>.
create table results.replay (
    replay_id    uuid primary key,
    stream_id    text not null references results.stream,   -- into
    source_id    text not null references results.stream,   -- from
    logical_date date,                                      -- null: every day
    from_seq     bigint not null,
    to_seq       bigint not null,
    speed        integer not null check (speed between 1 and 100),
    stage        text not null check (stage in ('clearing', 'running', 'done', 'stopped')),
    documents    bigint not null,                           -- in the range, when it was started
    replayed     bigint not null default 0,
    next_seq     bigint not null,                           -- moves in the transaction that sends: nothing is sent twice
    driver       uuid,                                      -- who sends; whoever lost it can commit nothing more
    driven_until timestamptz,                               -- by the database's clock, since replicas compare it
    started_by   text not null,
    started_at   timestamptz not null,
    ended_at     timestamptz
);
-- Two replays would mix in one stream.
create unique index replay_once on results.replay (stream_id) where stage in ('clearing', 'running');
-- How a day's part of a stream is found, with what came late.
drop index results.log_logical_date;
create index log_logical_date on results.log (stream_id, logical_date, seq);
-- A rehearsal that is cleared takes its documents away.
create index access_decision_document on results.access_decision (document_id);
create index embargo_document on results.embargo (document_id);
