-- name: audit.note_refusal
-- $1 the entry · $2 the tenant's name, or null · $3 who · $4 kind of credential · $5 action · $6 target · $7 code
-- $8 request · $9 the so-manieth stranger of its kind
select to_jsonb(note_refusal($1::uuid, $2, $3, $4, $5, $6, $7, $8, $9::integer)) as data
