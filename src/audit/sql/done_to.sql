-- name: audit.done_to
-- $1 the tenant · $2 the entry · $3 who · $4 by which kind of credential · $5 the action · $6 to what · $7 the request
select note_done($2::uuid, $1::uuid, $3, $4, $5, $6, $7)
