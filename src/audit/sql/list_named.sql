-- name: audit.page_of_named
-- The operator's: by name, so that a tenant that is gone is found too; without a name, the strangers.
--
-- $1 the id after which the page begins, or null · $2 how many rows · $3 an action · $4 an outcome · $5 an actor, or null
-- $6 the tenant's name, or null
select jsonb_build_object(
    'id', a.id, 'at', a.at, 'tenant', a.tenant_name, 'actor', a.actor, 'credential', a.credential, 'action', a.action,
    'target', a.target, 'outcome', a.outcome, 'code', a.code, 'request_id', a.request_id, 'sampled_of', a.sampled_of
) as data
from audit_log a
where coalesce(a.tenant_name, '') = coalesce($6::text, '')
    and ($1::uuid is null or a.id < $1::uuid)
    and ($3::text is null or a.action = $3)
    and ($4::text is null or a.outcome = $4)
    and ($5::text is null or a.actor = $5)
order by a.id desc
limit $2::integer
