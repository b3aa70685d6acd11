-- Prosody 0.12 for one test: loopback only, everything in one directory. @NAME@ is replaced when the test starts it.
run_as_root = true
pidfile = "@DIR@/prosody.pid"
data_path = "@DIR@/data"
certificates = "@DIR@"
interfaces = { "127.0.0.1" }
c2s_ports = {}
c2s_direct_tls_ports = {}
s2s_ports = {}
modules_disabled = { "s2s", "s2s_auth_certs" }
component_ports = { @COMPONENT@ }
http_ports = { @HTTP@ }
https_ports = {}
consider_websocket_secure = true
http_cors_override = { websocket = { enabled = true } }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = "internal_plain"
storage = "internal"
log = { { levels = { min = "debug" }, to = "console" } }
-- Without smacks: a client that was killed would live on as a resource which others keep asking.
modules_enabled = { "roster", "saslauth", "disco", "ping", "presence", "message", "iq", "websocket", "stanza_debug" }
VirtualHost "localhost"
  http_host = "localhost"
Component "sip.localhost"
  component_secret = "s3cret"
