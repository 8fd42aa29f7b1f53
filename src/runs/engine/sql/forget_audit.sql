-- name: tick.forget_audit
-- $1 for how many days entries of the audit log are kept · $2 how many at most
delete from audit_log a
where a.id in (
    select o.id from audit_log o
    where o.at < statement_timestamp() - make_interval(days => $1::integer)
    order by o.at limit $2::integer
)
