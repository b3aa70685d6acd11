-- What Prosody needs to carry calls to and from stox. Put it into /etc/prosody/prosody.cfg.lua, or as a file of its own
-- into /etc/prosody/conf.d/, and restart Prosody: it takes up a new component only then.

-- Global section, above the first VirtualHost: where components connect. Loopback is enough on one machine; between
-- machines use a private network or a tunnel, since this link is not encrypted.
component_ports = { 5347 }
component_interfaces = { "127.0.0.1" }

-- The domain of the SIP users as XMPP sees them: [xmpp] component and secret in stox.toml.
Component "sip.example.org"
    component_secret = "change me"

-- Optional, in the VirtualHost of your users: shows the gateway in their clients' list of services.
-- disco_items = { { "sip.example.org", "Telephone" } }

-- No DNS entry is needed for calls of this server's own users. For users of other servers, give sip.example.org an
-- address record (or _xmpp-server._tcp SRV) that leads to this server, and a certificate that names it.
