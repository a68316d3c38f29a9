-- One request for wrk, from the environment, and its summary as JSON.
--   BENCH_METHOD    the method
--   BENCH_BODY      the body; empty for none
--   BENCH_HEADERS   "name: value" lines
--   BENCH_THINK_MS  mean pause of a connection between two requests; 0 is none

wrk.method = os.getenv("BENCH_METHOD")
local body = os.getenv("BENCH_BODY")
if body ~= "" then wrk.body = body end
for line in os.getenv("BENCH_HEADERS"):gmatch("[^\n]+") do
  local name, value = line:match("^(.-): (.*)$")
  wrk.headers[name] = value
end

local think = tonumber(os.getenv("BENCH_THINK_MS"))
if think > 0 then
  function delay()
    return math.random(0, 2 * think) -- uneven, so that the connections don't fall into step
  end
end

dofile(os.getenv("BENCH_SUMMARY"))
