# SPDX-License-Identifier: Apache-2.0
"""Guest: decimal, fractions, statistics, math, hashlib, struct, zlib, datetime, calendar, random with a seed."""
import base64
import calendar
import cmath
import datetime
import decimal
import fractions
import hashlib
import hmac
import math
import random
import statistics
import struct
import time
import zlib

decimal.getcontext().prec = 50
print(decimal.Decimal(2).sqrt(), decimal.Decimal("1.10") + decimal.Decimal("2.205"), decimal.Decimal(1) / 7)
print(decimal.Decimal("2.675").quantize(decimal.Decimal("0.01"), decimal.ROUND_HALF_EVEN), decimal.Decimal(10) ** -30)
with decimal.localcontext(decimal.Context(prec=5, traps=[decimal.DivisionByZero])) as c:
    print(c.divide(decimal.Decimal(10), 3), c.flags[decimal.Inexact])
    try:
        decimal.Decimal(1) / 0
    except decimal.DivisionByZero as e:
        print(type(e).__name__)
print(fractions.Fraction("3.14159").limit_denominator(100), sum(fractions.Fraction(1, n) for n in range(1, 20)))
print(statistics.mean([1, 2, 4]), statistics.stdev([1.5, 2.5, 4.0]), statistics.quantiles(range(11)), statistics.mode("aab"))
print(math.factorial(30), math.comb(50, 7), math.isqrt(10**40), math.gcd(84, 126), math.fsum([0.1] * 10), math.dist((0, 0), (3, 4)))
print(pow(3, 1000, 10**9 + 7), (2**200).bit_length(), int("zz", 36), hex(10**20), 7 // -2, -7 % 3, divmod(-7, 2), round(2.5), round(-0.5))
print(0.1 + 0.2, 1e16, 1e-5, float("inf"), -0.0, 5e-324, 1.7976931348623157e308, (0.1).hex(), float.fromhex("0x1.8p1"), 2**0.5)
print(cmath.sqrt(-4), complex(1, -2) * 1j, abs(3 + 4j))
for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s"):
    print(name, hashlib.new(name, b"ambit" * 1000).hexdigest()[:40])
print(hashlib.shake_128(b"x").hexdigest(8), hmac.new(b"key", b"message", "sha256").hexdigest())
print(struct.pack("<bHiQfd3s", -1, 65535, -7, 2**63, 1.5, -2.25, b"abc").hex(), struct.unpack(">hI", b"\xff\xfe\0\0\1\0"))
print(zlib.crc32(b"data" * 100), zlib.adler32(b"data"), zlib.decompress(zlib.compress(b"data" * 1000, 9)) == b"data" * 1000)
print(base64.b64encode(bytes(range(20))), base64.b32encode(b"hi"), base64.a85encode(b"hello"))
moment = datetime.datetime(2024, 2, 29, 23, 59, 58, 123456, tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30)))
print(moment.isoformat(), moment.astimezone(datetime.timezone.utc), moment.timestamp(), moment + datetime.timedelta(days=366))
print(datetime.datetime.fromisoformat("2011-11-04T00:05:23+04:00"), datetime.date(2026, 12, 31).isocalendar())
print(datetime.datetime.strptime("21 Jun 2007 16:30", "%d %b %Y %H:%M"), moment.strftime("%a %d.%m.%y %j %U %p %z"))
print(calendar.month(2026, 2), calendar.isleap(1900), calendar.timegm((2000, 1, 1, 0, 0, 0)), time.gmtime(0)[:6])
print(datetime.timedelta(seconds=90061.5), datetime.timedelta(days=-1, hours=3), datetime.date.max - datetime.date.min)
generator = random.Random(20260101)
print(generator.random(), generator.randrange(10**6), generator.sample(range(100), 5), generator.gauss(0, 1), generator.choices("abc", k=5))
