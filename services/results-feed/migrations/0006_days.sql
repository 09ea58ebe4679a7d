-- Whether a venue's data of a discipline flows: opened by LOCAL_ON, heard of by keep-alives, closed by LOCAL_OFF.
create table results.venue_clock (
    stream_id  text not null references results.stream,
    venue      text not null,
    discipline text not null check (length(discipline) = 3),
    is_open    boolean not null,
    heard_at   timestamptz not null,                  -- of the last sign of life
    primary key (stream_id, venue, discipline)
) with (fillfactor = 70);

-- A day of competition, which ends after midnight.
create table results.logical_day (
    stream_id    text not null references results.stream,
    logical_date date not null,
    day_state    text not null check (day_state in ('open', 'closing', 'closed')),
    changed_at   timestamptz not null,
    primary key (stream_id, logical_date)
);

-- What a closed day holds, in one hash. Its lines are in the log: the newest entry of each document of the day up to
-- up_to_seq. A later one for the day makes another revision.
create table results.manifest (
    stream_id    text not null references results.stream,
    logical_date date not null,
    revision     integer not null check (revision > 0),
    documents    integer not null,
    root         bytea not null,
    up_to_seq    bigint not null,
    made_at      timestamptz not null,
    primary key (stream_id, logical_date, revision)
);

-- A day's newest entry of each document.
create index log_day on results.log (stream_id, logical_date, document_id, seq desc) where kind in ('document', 'invalidation');
