"""Pickles of compiled functions that earlier versions made."""

from __future__ import annotations

# What 0.1.0 pickled of this function, called as `f([1.0, 2.0], 3.0)` and with kind="b":
#
#     w, b = Value(2.0), Value(-1.0)
#     @micrograd.compile
#     def f(x, y, kind="a"):
#         total = w * x[0] + b * x[1]
#         return (total - y) ** 2 if kind == "a" else total
PICKLED = """
    gASVdAIAAAAAAACMEm1pY3JvZ3JhZC5jb21waWxlcpSMCENvbXBpbGVkkymBfSiMCl9fbW9kdWxlX1+MCF9fbWFpbl9fjAhfX25hbWVfX4wEbGlu
    ZZSMDF9fcXVhbG5hbWVfX2gBjAhfdGhyZWFkc0sBjAlfcHJvZ3JhbXN9KIwIYnVpbHRpbnOMBGxpc3STlEsChk6GKSmHjBBtaWNyb2dyYWQuX2Nh
    bGxzjAlfdW5waWNrbGWTlIwSbWljcm9ncmFkLl9wcm9ncmFtjAlfdW5waWNrbGWTlIwQbWljcm9ncmFkLl90cmFjZYwJX3VucGlja2xlk5QoXShL
    8ksAhYZL8ksBhYZL8ksChYZL8UsAhYaMB19fbXVsX19LA0sAhoZL8UsBhYaMB19fbXVsX19LBUsBhoaMB19fYWRkX19LBEsGhoaMB19fc3ViX19L
    B0sChoZL8EdAAAAAAAAAAIWGjAdfX3Bvd19fSwhLCYaGZUsKhYwPbWljcm9ncmFkLl9jb3JljAVfYmFyZZOUjA9taWNyb2dyYWQuX2NvcmWMBVZh
    bHVlk5SFUpRHQAAAAAAAAABHAAAAAAAAAAB9h2JoBmgHhVKUR7/wAAAAAAAARwAAAAAAAAAAfYdihksDSwVLAEsAdFKFUk6GUmgCSwKGToYpaACM
    B19TdGF0aWOTjARraW5kjAFihoWBhYdoA2gEaAUoXShL8ksAhYZL8ksBhYZL8ksChYZL8UsAhYaMB19fbXVsX19LA0sAhoZL8UsBhYaMB19fbXVs
    X19LBUsBhoaMB19fYWRkX19LBEsGhoZlSweFaAhoCYZLA0sDSwBLAHRShVJOhlJ1dWIu
"""


def test_pickles_of_earlier_versions_load(isolated):
    out = isolated(
        f"""
import base64, pickle
f = pickle.loads(base64.b64decode({PICKLED!r}))
print(f([3.0, 4.0], 1.0).data, f([3.0, 4.0], 1.0, kind="b").data)
total, grads = f.value_and_grad([[3.0, 4.0]], [1.0])
print(total, grads.tolist(), [leaf.data for leaf in f.captured])
again = pickle.dumps(f)
print(b"_calls" in again, pickle.loads(again).program == f.program, repr(f), repr(pickle.loads(again)) == repr(f))
"""
    )
    assert out.splitlines() == [
        "1.0 2.0",
        "1.0 [6.0, 8.0] [2.0, -1.0]",
        "False True <compiled line, 2 programs, exact> True",
    ]
