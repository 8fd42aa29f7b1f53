-- name: tick.go_on_erasing
-- The next part of a tenant that the operator is erasing.
--
-- $1 how many runs at most · $2 how many steps, about
select go_on_erasing($1::integer, $2::integer)
