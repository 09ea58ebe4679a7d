-- Serial numbers of sources (ODF1) that came, so that those that did not can be told. They count by source and day.
create table results.source_serial (
    stream_id    text not null references results.stream,
    source       text not null,
    logical_date date not null,
    serial       bigint not null check (serial >= 0),
    seen_at      timestamptz not null,
    primary key (stream_id, source, logical_date, serial)
);
