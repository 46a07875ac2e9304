# SPDX-License-Identifier: Apache-2.0
"""`ssl` for a sandbox without sockets: names and contexts, and verification that cannot be turned off.

TLS is spoken outside, by Ambit's egress: it verifies the server's certificate against the host's authorities, always. A context
says so, takes settings that ask for no more than that, and raises for every other one, so that no program believes in a check,
a key or a leniency that is not there. `wrap_socket` marks an HTTP connection (wire.py) as https; of anything else there is none.
"""

import base64
import enum
import errno
import os
import sys
import types
from collections import namedtuple

OUTSIDE = "TLS is spoken by Ambit, outside the sandbox: "


class SSLError(OSError):
    library = reason = None

    def __str__(self):
        return self.strerror if isinstance(self.strerror, str) else super().__str__()


class SSLZeroReturnError(SSLError):
    pass


class SSLWantReadError(SSLError):
    pass


class SSLWantWriteError(SSLError):
    pass


class SSLSyscallError(SSLError):
    pass


class SSLEOFError(SSLError):
    pass


class SSLCertVerificationError(SSLError, ValueError):
    verify_code, verify_message = 1, "certificate verify failed"


CertificateError = SSLCertVerificationError
socket_error = OSError


class VerifyMode(enum.IntEnum):
    CERT_NONE, CERT_OPTIONAL, CERT_REQUIRED = range(3)


class TLSVersion(enum.IntEnum):
    MINIMUM_SUPPORTED, MAXIMUM_SUPPORTED = -2, -1
    SSLv3, TLSv1, TLSv1_1, TLSv1_2, TLSv1_3 = 0x300, 0x301, 0x302, 0x303, 0x304


class VerifyFlags(enum.IntFlag):
    VERIFY_DEFAULT, VERIFY_CRL_CHECK_LEAF, VERIFY_CRL_CHECK_CHAIN, VERIFY_X509_STRICT = 0, 4, 12, 32
    VERIFY_ALLOW_PROXY_CERTS, VERIFY_X509_TRUSTED_FIRST, VERIFY_X509_PARTIAL_CHAIN = 64, 0x8000, 0x80000


class Options(enum.IntFlag):
    OP_ALL, OP_NO_SSLv2, OP_NO_SSLv3, OP_NO_TLSv1, OP_NO_TLSv1_1 = 0x80000050, 0, 0x2000000, 0x4000000, 0x10000000
    OP_NO_TLSv1_2, OP_NO_TLSv1_3, OP_NO_COMPRESSION, OP_NO_TICKET = 0x8000000, 0x20000000, 0x20000, 0x4000
    OP_CIPHER_SERVER_PREFERENCE, OP_SINGLE_DH_USE, OP_SINGLE_ECDH_USE = 0x400000, 0, 0
    OP_NO_RENEGOTIATION, OP_IGNORE_UNEXPECTED_EOF, OP_ENABLE_MIDDLEBOX_COMPAT = 0x40000000, 0x80, 0x100000


class _SSLMethod(enum.IntEnum):
    PROTOCOL_TLS, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER = 2, 16, 17


class Purpose(enum.Enum):
    SERVER_AUTH, CLIENT_AUTH = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"


for _kind in (VerifyMode, VerifyFlags, Options, _SSLMethod):
    globals().update(_kind.__members__)
PROTOCOL_SSLv23 = PROTOCOL_TLS

# Of the library that egress uses, as far as a program may count on it.
OPENSSL_VERSION, OPENSSL_VERSION_INFO, OPENSSL_VERSION_NUMBER = "OpenSSL 3 (outside the sandbox)", (3, 0, 0, 0, 0), 0x30000000
HAS_SNI = HAS_TLSv1_2 = HAS_TLSv1_3 = HAS_NEVER_CHECK_COMMON_NAME = True
HAS_ALPN = HAS_NPN = HAS_ECDH = HAS_SSLv2 = HAS_SSLv3 = HAS_TLSv1 = HAS_TLSv1_1 = HAS_PSK = HAS_PHA = False
CHANNEL_BINDING_TYPES = []
DefaultVerifyPaths = namedtuple("DefaultVerifyPaths", "cafile capath openssl_cafile_env openssl_cafile openssl_capath_env openssl_capath")

# What egress does anyway.
KEPT = (Options.OP_ALL | Options.OP_NO_SSLv3 | Options.OP_NO_TLSv1 | Options.OP_NO_TLSv1_1 | Options.OP_NO_COMPRESSION | Options.OP_NO_TICKET
        | Options.OP_CIPHER_SERVER_PREFERENCE | Options.OP_NO_RENEGOTIATION | Options.OP_ENABLE_MIDDLEBOX_COMPAT)
CHECKED = VerifyFlags.VERIFY_X509_TRUSTED_FIRST | VerifyFlags.VERIFY_X509_STRICT | VerifyFlags.VERIFY_X509_PARTIAL_CHAIN


def refuse(text):
    return SSLError(errno.ENOTSUP, OUTSIDE + text)


def setting(name, start, allowed, text):
    """A property that keeps the values that hold, and raises for the others."""
    def put(self, value):
        if not allowed(value):
            raise refuse(text)
        self.__dict__[name] = value
    return property(lambda self: self.__dict__.get(name, start), put)


class SSLContext:
    """A client's context: certificates and names are verified."""

    sslsocket_class = sslobject_class = None
    keylog_filename = None
    post_handshake_auth = None
    sni_callback = None
    hostname_checks_common_name = False
    verify_mode = setting("verify_mode", CERT_REQUIRED, lambda v: v == CERT_REQUIRED, "certificates are always verified")
    check_hostname = setting("check_hostname", True, bool, "the name in the certificate is always verified")
    minimum_version = setting("minimum_version", TLSVersion.TLSv1_2, lambda v: v <= TLSVersion.TLSv1_2,
                              "a program cannot ask for more than TLS 1.2")
    maximum_version = setting("maximum_version", TLSVersion.MAXIMUM_SUPPORTED, lambda v: v in (-1, TLSVersion.TLSv1_3),
                              "a program cannot ask for older versions")
    options = setting("options", KEPT, lambda v: not v & ~KEPT, "a program cannot set this option")
    verify_flags = setting("verify_flags", CHECKED, lambda v: not v & ~CHECKED, "a program cannot ask for these checks")

    def __init__(self, protocol=PROTOCOL_TLS_CLIENT):
        if protocol == PROTOCOL_TLS_SERVER:
            raise refuse("there are no servers in the sandbox")
        self.protocol = PROTOCOL_TLS_CLIENT

    def wrap_socket(self, sock, server_side=False, do_handshake_on_connect=True, suppress_ragged_eofs=True, server_hostname=None,
                    session=None):
        if server_side or not hasattr(sock, "secure"):
            raise refuse("only connections of http.client can be https")
        if server_hostname is not None and server_hostname.strip("[]").lower().rstrip(".") != sock.host.lower().rstrip("."):
            raise refuse(f"the name that is verified is that of the connection ({sock.host}), not {server_hostname}")
        sock.secure = True
        return sock

    def wrap_bio(self, *_, **__):
        raise refuse("there is none in the sandbox")

    def load_default_certs(self, purpose=Purpose.SERVER_AUTH):
        """They are always the host's."""

    set_default_verify_paths = load_default_certs

    def load_verify_locations(self, cafile=None, capath=None, cadata=None):
        # The bundle of PyPI's certifi stands for "the usual authorities", which is what there is.
        certifi = sys.modules.get("certifi")
        if cafile and not capath and not cadata and certifi and os.fspath(cafile) == certifi.where():
            return
        raise refuse("it trusts the host's authorities, a program cannot bring its own")

    def load_cert_chain(self, certfile, keyfile=None, password=None):
        raise refuse("a program has no certificate of its own; an http grant may set headers that identify it")

    def set_alpn_protocols(self, protocols):
        """Which HTTP is spoken is not seen in here; programs name http/1.1."""
        if "http/1.1" not in protocols:
            raise refuse("only HTTP is spoken over it")

    def set_ciphers(self, ciphers):
        raise refuse("a program does not choose ciphers")

    def get_ca_certs(self, binary_form=False):
        return []

    def cert_store_stats(self):
        return {"x509": 0, "crl": 0, "x509_ca": 0}

    def session_stats(self):
        raise refuse("a program sees no sessions")


class _Absent:
    def __init__(self, *_, **__):
        raise refuse("there is none in the sandbox")


class SSLSocket(_Absent):
    pass


class SSLObject(_Absent):
    pass


class MemoryBIO(_Absent):
    pass


class SSLSession(_Absent):
    pass


def create_default_context(purpose=Purpose.SERVER_AUTH, *, cafile=None, capath=None, cadata=None):
    if purpose != Purpose.SERVER_AUTH:
        raise refuse("there are no servers in the sandbox")
    context = SSLContext()
    if cafile or capath or cadata:
        context.load_verify_locations(cafile, capath, cadata)
    return context


def _create_unverified_context(*_, **__):
    raise refuse("certificates are always verified")


_create_default_https_context = create_default_context
_create_stdlib_context = create_default_context  # the standard library's own clients did not verify; there is nothing else here


def get_server_certificate(addr, *_, **__):
    raise refuse("a program sees no certificates")


def get_default_verify_paths():
    return DefaultVerifyPaths(None, None, "SSL_CERT_FILE", "", "SSL_CERT_DIR", "")


def RAND_bytes(n):
    return os.urandom(n)


def RAND_status():
    return True


def RAND_add(string, entropy):
    """The host's generator needs nothing from here."""


def DER_cert_to_PEM_cert(der):
    text = base64.encodebytes(der).replace(b"\n", b"").decode()
    lines = [text[i:i + 64] for i in range(0, len(text), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def PEM_cert_to_DER_cert(pem):
    text = pem.strip()
    if not text.startswith("-----BEGIN CERTIFICATE-----") or not text.endswith("-----END CERTIFICATE-----"):
        raise ValueError("Invalid PEM encoding")
    return base64.decodebytes(text[27:-25].encode())


def install():
    """Before http.client is imported for the first time: it has HTTPSConnection only where there is an ssl."""
    module = sys.modules[__name__]
    shim = types.ModuleType("ssl", __doc__)
    shim.__dict__.update({k: v for k, v in vars(module).items() if k not in ("install", "__name__", "__spec__", "__loader__", "__doc__")})
    sys.modules["ssl"] = shim
