-- The database itself writes the history and guards what has ended: no code path can forget either.

-- Numbers continue from the highest one of the run. Whoever changes a run or its steps holds the run's row lock; one
-- that did not would collide on the primary key instead of writing a wrong number.
create function record_run_changes() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        insert into status_history (run_id, seq, tenant_id, entity, entity_id, to_status)
        select a.id, 1, a.tenant_id, 'run', a.id, a.status
        from after_rows a;
    else
        insert into status_history (run_id, seq, tenant_id, entity, entity_id, from_status, to_status, error)
        select
            a.id,
            coalesce((select max(h.seq) from status_history h where h.run_id = a.id), 0) + 1,
            a.tenant_id, 'run', a.id, b.status, a.status, a.error
        from after_rows a
        join before_rows b on b.id = a.id
        where b.status <> a.status;
    end if;
    return null;
end
$$;

create function record_step_changes() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        -- A pending step has not changed yet: its plan says that it is there.
        insert into status_history (run_id, seq, tenant_id, entity, entity_id, step_key, to_status, attempt)
        select
            a.run_id,
            coalesce((select max(h.seq) from status_history h where h.run_id = a.run_id), 0)
                + row_number() over (partition by a.run_id order by a.idx),
            a.tenant_id, 'step', a.id, a.key, a.status, a.attempt
        from after_rows a
        where a.status <> 'pending';
    else
        insert into status_history
            (run_id, seq, tenant_id, entity, entity_id, step_key, from_status, to_status, attempt, error)
        select
            a.run_id,
            coalesce((select max(h.seq) from status_history h where h.run_id = a.run_id), 0)
                + row_number() over (partition by a.run_id order by a.idx),
            a.tenant_id, 'step', a.id, a.key, b.status, a.status, a.attempt, a.error
        from after_rows a
        join before_rows b on b.id = a.id
        where b.status <> a.status;
    end if;
    return null;
end
$$;

create trigger runs_created after insert on runs
    referencing new table as after_rows
    for each statement execute function record_run_changes();

create trigger runs_changed after update on runs
    referencing old table as before_rows new table as after_rows
    for each statement execute function record_run_changes();

create trigger steps_created after insert on steps
    referencing new table as after_rows
    for each statement execute function record_step_changes();

create trigger steps_changed after update on steps
    referencing old table as before_rows new table as after_rows
    for each statement execute function record_step_changes();

create function refuse_change_of_ended() returns trigger language plpgsql as $$
begin
    raise exception '% % has ended (%) and cannot change', tg_argv[0], old.id, old.status
        using errcode = 'AOS01';
end
$$;

create trigger runs_ended before update or delete on runs
    for each row when (old.status in ('succeeded', 'failed', 'cancelled'))
    execute function refuse_change_of_ended('run');

create trigger steps_ended before update or delete on steps
    for each row when (old.status in ('succeeded', 'failed', 'skipped', 'cancelled'))
    execute function refuse_change_of_ended('step');
