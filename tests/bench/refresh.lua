-- Refreshes for wrk: each sends the token that an earlier answer gave. Summary as in load.lua.
--   BENCH_FIELDS  the form's other fields
--   BENCH_TOKENS  refresh tokens to begin with, one a line; at least as many as connections

local fields = os.getenv("BENCH_FIELDS")
local headers = { ["content-type"] = "application/x-www-form-urlencoded" }
local tokens, first, last = {}, 1, 0

local function keep(token)
  last = last + 1
  tokens[last] = token
end

for token in os.getenv("BENCH_TOKENS"):gmatch("[^\n]+") do
  keep(token)
end

local is_asked_by_wrk_itself = true

function request()
  local token = tokens[first] or "there-is-none-left"
  -- wrk asks once before it begins, and sends nothing.
  if is_asked_by_wrk_itself then
    is_asked_by_wrk_itself = false
  else
    tokens[first] = nil
    first = first + 1
  end
  return wrk.format("POST", nil, headers, fields .. "&refresh_token=" .. token)
end

function response(status, _, body)
  local token = status == 200 and body:match('"refresh_token":"([^"]+)"')
  if token then
    keep(token)
  end
end

dofile(os.getenv("BENCH_SUMMARY"))
