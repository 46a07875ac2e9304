# SPDX-License-Identifier: Apache-2.0
"""requests and urllib3 from PyPI, unmodified, over http.client."""
import sys

import requests
import urllib3

base = f"http://127.0.0.1:{sys.argv[1]}"
s = requests.Session()
r = s.get(base + "/hello", params={"name": "ü"})
print(r.status_code, r.reason, r.ok, r.text, r.encoding, r.headers["Content-Type"], r.headers["etag"])
for i in range(3):
    print(s.get(base + f"/hello?name={i}").text.strip())
print({k: v for k, v in s.post(base + "/echo", json={"a": [1, "ü"]}, headers={"X-A": "b"}).json().items() if k != "target"})
print(s.post(base + "/echo", data=iter([b"a" * 1000] * 100)).json()["size"], s.post(base + "/echo", data={"a": "1", "b": "2"}).json()["size"])
print(requests.Request("PUT", base, files={"f": ("n.txt", b"abc")}).prepare().body.count(b"n.txt"))  # its boundary is random: not sent
print([h.status_code for h in s.get(base + "/redirect?to=/redirect%3Fto%3D/hello").history], s.get(base + "/status/404").ok)
print(s.get(base + "/duplicates").cookies.get_dict(), s.get(base + "/echo").json()["headers"])
print(s.get(base + "/secret", auth=("user", "pass")).text, s.get(base + "/secret").status_code)
with s.get(base + "/events?n=3", stream=True) as r:
    print(list(r.iter_lines()))
with s.get(base + "/big?n=3000000", stream=True) as r:
    print(sum(map(len, r.iter_content(100000))))
for name, call in {"read timeout": lambda: s.get(base + "/slow?s=3", timeout=0.3), "cut": lambda: s.get(base + "/cut"),
                   "status": lambda: s.get(base + "/none").raise_for_status(), "refused": lambda: s.get("http://127.0.0.1:1/"),
                   "no scheme": lambda: s.get("127.0.0.1/x")}.items():
    try:
        call()
    except requests.RequestException as e:
        print(name, [t.__name__ for t in type(e).__mro__ if t.__module__.startswith("requests")])
pool = urllib3.PoolManager()
print(pool.request("GET", base + "/hello", fields={"name": "pool"}).data, pool.request("POST", base + "/echo", body=b"x" * 5).json()["size"])
print(pool.request("GET", base + "/status/503", retries=urllib3.Retry(2, status_forcelist=[500])).status)
