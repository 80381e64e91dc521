"""A stand-in for FCM, APNs and a browser push service: their real protocols over TLS and HTTP/2, on this machine."""
