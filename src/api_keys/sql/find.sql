-- name: api_keys.find
select find_api_key($1) as data
