create table if not exists items (
    id bigint generated always as identity primary key,
    name text not null unique,
    price_cents integer not null check (price_cents >= 0),
    tags text[] not null default '{}',
    attributes jsonb not null default '{}',
    added_at timestamptz not null default now()
);

insert into items (name, price_cents, tags, attributes, added_at) values
    ('fig', 90, '{fruit}', '{"colour": "purple"}', '2026-01-05 08:00:00+00'),
    ('pear', 120, '{fruit,"in season"}', '{"colour": "green", "sizes": [1, 2]}', '2026-02-11 09:30:00+00'),
    ('kettle', 3450, '{}', '{"litres": 1.7}', '2026-03-20 17:45:10.5+00'),
    ('lamp', 5999, '{home,light}', '{}', '2026-04-02 12:00:00+00'),
    ('quill', 310, '{desk}', '{"colour": null}', '2026-05-30 23:59:59+00')
on conflict do nothing;

-- A role of its own: it owns nothing, is a member of nothing, and may connect to this database and read this table.
do $$
begin
    if not exists (select from pg_roles where rolname = 'aos_query_reader') then
        create role aos_query_reader login noinherit connection limit 20;
    end if;
end
$$;

alter role aos_query_reader set default_transaction_read_only = on;
alter role aos_query_reader set statement_timeout = '30s';

do $$
begin
    execute format('revoke all on database %I from public', current_database());
    execute format('grant connect on database %I to aos_query_reader', current_database());
end
$$;

revoke all on schema public from public;
grant usage on schema public to aos_query_reader;
grant select on items to aos_query_reader;
