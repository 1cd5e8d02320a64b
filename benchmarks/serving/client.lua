-- Post one body again and again; the environment names it and the headers. The last line is JSON.
local file = assert(io.open(os.getenv("WRK_BODY"), "rb"))
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
for name, value in os.getenv("WRK_HEADERS"):gmatch("([^:\n]+): ([^\n]+)") do
  wrk.headers[name] = value
end
function done(summary, latency, requests)
  local failed = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%f,"p50_ms":%f,"p99_ms":%f,"failed":%d,"refused":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    failed.connect + failed.read + failed.write + failed.timeout, failed.status))
end
