-- name: audit.note_done
-- $1 the entry · $2 who · $3 by which kind of credential · $4 the action · $5 to what · $6 the request
select note_done($1::uuid, current_tenant(), $2, $3, $4, $5, $6)
