-- The first role of a Neon project: no superuser, but close to one.
create role shop_owner login password 'a-password' createdb createrole replication bypassrls in role pg_read_all_data;
grant connect, create, temporary on database shop to shop_owner;
grant all on schema public to shop_owner;
alter table items owner to shop_owner;

create table private_notes (body text);
-- Locked by a test, while others read the items.
create table held (body text);
grant select on held to aos_query_reader;

-- Functions that are not what they seem.
create function insert_quietly() returns bigint language sql volatile as $$
    insert into items (name, price_cents) values ('smuggled', 1) returning id
$$;
create function insert_as_superuser() returns void language plpgsql volatile security definer as $$
begin
    insert into items (name, price_cents) values ('smuggled', 1);
end
$$;
create function insert_in_a_subtransaction() returns text language plpgsql volatile as $$
begin
    begin
        perform set_config('transaction_read_only', 'off', true);
        insert into items (name, price_cents) values ('smuggled', 1);
        return 'inserted';
    exception when others then
        return sqlstate;
    end;
end
$$;
create function commit_quietly() returns void language plpgsql volatile as $$
begin
    commit;
end
$$;
-- Called while a query is planned, for it says that it can be.
create function unbind_quietly(integer) returns integer language plpgsql immutable as $$
begin
    perform set_config('statement_timeout', '0', false);
    perform set_config('default_transaction_read_only', 'off', false);
    return $1;
end
$$;
create procedure insert_by_procedure() language sql as $$
    insert into items (name, price_cents) values ('smuggled', 1)
$$;
grant execute on all functions in schema public to shop_owner, aos_query_reader;
create materialized view dear_items as select * from items where price_cents > 1000;
alter materialized view dear_items owner to shop_owner;
select lo_from_bytea(424242, 'kept');
grant all on large object 424242 to shop_owner;
alter large object 424242 owner to shop_owner;
