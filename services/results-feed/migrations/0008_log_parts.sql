-- What a compressed document is when it is unpacked; null: as it lies there. Compressed bytes begin with the magic number
-- of Zstandard (RFC 8878 section 3.1.1), with which neither XML nor JSON begins.
alter table results.log
    add column canonical_size integer,
    add column raw_size       integer,
    add column raw_sha256     bytea;

-- The log in parts: ranges of sequence numbers of one stream, not days. Every look-up but one knows the stream and the
-- number, and so asks one part; a day of competition has no such place, since late documents of it come days later.
-- Nothing is copied: the table that is there becomes the part for what no other part takes. The statements of the version
-- before mean the same on it.
alter table results.log rename to log_default;
alter index results.log_pkey rename to log_default_pkey;
alter index results.log_document rename to log_default_document;
alter index results.log_weighty rename to log_default_weighty;
alter index results.log_entitlement rename to log_default_entitlement;
alter index results.log_logical_date rename to log_default_logical_date;
alter index results.log_received_at rename to log_default_received_at;
alter index results.log_day rename to log_default_day;
create table results.log (like results.log_default including defaults including constraints)
    partition by range (stream_id, seq);
alter table results.log
    add primary key (stream_id, seq),
    add foreign key (stream_id) references results.stream,
    add foreign key (document_id) references results.document;
alter table results.log attach partition results.log_default default;
create index log_document on results.log (document_id, seq desc);
create index log_weighty on results.log (stream_id, seq) where not conflatable;
create index log_entitlement on results.log (stream_id, client_id, seq) where client_id is not null;
create index log_logical_date on results.log (stream_id, logical_date, seq) where kind <> 'late';
create index log_received_at on results.log (stream_id, received_at, seq) where kind <> 'late';
create index log_day on results.log (stream_id, logical_date, document_id, seq desc) where kind in ('document', 'invalidation');
-- Start lists, behind which many later versions came.
create index log_start_list on results.log (document_id, seq desc) where kind = 'document' and result_status = 'START_LIST';

-- The parts beside the default one.
create table results.log_part (
    stream_id    text not null references results.stream,
    from_seq     bigint not null,
    to_seq       bigint not null check (to_seq > from_seq), -- exclusively
    name         text not null unique,
    compacted_at timestamptz,                               -- since then it holds only what is kept for good
    primary key (stream_id, from_seq)
);

alter table results.stream
    add column whole_from  bigint not null default 1,       -- from this entry on the log is whole
    add column swept_until bigint not null default 1;       -- of what is older than this, nothing is left that may go

-- The entry that closed a day: its state is the one behind it.
alter table results.logical_day add column closed_seq bigint;
update results.logical_day d set closed_seq = m.up_to_seq
from results.manifest m
where m.stream_id = d.stream_id and m.logical_date = d.logical_date and m.revision = 1 and d.day_state = 'closed';

-- Makes a part. Created plain and attached: `create table ... partition of` locks the log exclusively, this its default
-- part for the time of a scan.
create function results.make_log_part(p_stream text, p_from bigint, p_to bigint) returns void language plpgsql as $$
declare
    child text := 'log_' || left(p_stream, 30) || '_' || p_from;
begin
    execute format('create table results.%I (like results.log including all)', child);
    execute format('alter table results.log attach partition results.%I for values from (%L, %s) to (%L, %s)',
                   child, p_stream, p_from, p_stream, p_to);
    insert into results.log_part (stream_id, from_seq, to_seq, name) values (p_stream, p_from, p_to, child);
end $$;

-- Which entries from p_from up to before p_to are kept when everything before p_until may go: of each day of competition
-- the last of each document, and so what stood at p_until, on which everything behind it builds; and what a manifest's
-- revision is made of.
create function results.kept_of_log(p_stream text, p_from bigint, p_to bigint, p_until bigint) returns setof bigint
language sql stable as $$
    select l.seq
    from results.log l
    where l.stream_id = p_stream and l.seq >= p_from and l.seq < p_to and l.kind in ('document', 'invalidation')
      and (not exists (
               select from results.log n
               where n.stream_id = p_stream and n.logical_date = l.logical_date and n.document_id = l.document_id
                 and n.kind in ('document', 'invalidation') and n.seq > l.seq and n.seq < p_until)
           or exists (
               select from results.manifest m
               where m.stream_id = p_stream and m.logical_date = l.logical_date and m.up_to_seq >= l.seq
                 and not exists (
                     select from results.log n
                     where n.stream_id = p_stream and n.logical_date = l.logical_date and n.document_id = l.document_id
                       and n.kind in ('document', 'invalidation') and n.seq > l.seq and n.seq <= m.up_to_seq)))
$$;

-- Puts a part that holds only what is kept in the place of a whole one. It stays where its number says, so that every
-- look-up finds it as before. Copied first, since the exchange locks the log.
create function results.compact_log_part(p_stream text, p_from bigint, p_until bigint, p_now timestamptz) returns bigint
language plpgsql as $$
declare
    part  results.log_part;
    kept  text;
    count bigint;
begin
    select * into strict part from results.log_part
    where stream_id = p_stream and from_seq = p_from and compacted_at is null for update;
    kept := 'log_' || left(p_stream, 30) || '_' || p_from || '_kept';
    execute format('create table results.%I (like results.log including all)', kept);
    execute format(
        'insert into results.%I select l.* from results.%I l
         where l.seq in (select results.kept_of_log(%L, %s, %s, %s))',
        kept, part.name, p_stream, part.from_seq, part.to_seq, p_until);
    get diagnostics count = row_count;
    execute format('alter table results.log detach partition results.%I', part.name);
    execute format('drop table results.%I', part.name);
    execute format('alter table results.log attach partition results.%I for values from (%L, %s) to (%L, %s)',
                   kept, p_stream, part.from_seq, p_stream, part.to_seq);
    update results.log_part set name = kept, compacted_at = p_now where stream_id = p_stream and from_seq = p_from;
    return count;
end $$;
