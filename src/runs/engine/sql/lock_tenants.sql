-- name: turn.lock_tenants
-- Tenants, then runs, each in the order of their ids: two turns never wait for each other in a circle.
-- "No key" lets others insert rows that refer to them meanwhile.
select t.id
from tenants t
where t.id in (
    select ids.value::uuid from jsonb_array_elements_text(current_setting('aos.turn')::jsonb -> 'tenants') ids
)
order by t.id
for no key update
