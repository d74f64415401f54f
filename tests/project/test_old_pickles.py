"""Pickles that version 0.1.1 wrote, of networks and optimizers, load in a process that has imported nothing."""

import json

import pytest

# Written by protocol 5, of what a `random.seed(3)` and two steps at grads of x * x * y made.
PICKLES = {
    "nn.MLP": """
gAWVDwIAAAAAAACMDG1pY3JvZ3JhZC5ubpSMA01MUJSTlCmBlH2UjAZsYXllcnOUXZQoaACMBUxheWVylJOUKYGUfZR9lIwHbmV1cm9uc5RdlChoAIwG
TmV1cm9ulJOUKYGUfZR9lCiMAXeUXZQojA9taWNyb2dyYWQuX2NvcmWUjAVfYmFyZZSTlIwPbWljcm9ncmFkLl9jb3JllIwFVmFsdWWUk5SFlFKUR7/Q
pU8hWEpERwAAAAAAAAAAfZSHlGJoF2gahZRSlEc/ypqA7ytyUEcAAAAAAAAAAH2Uh5RiZYwBYpRoF2gahZRSlEcAAAAAAAAAAEcAAAAAAAAAAH2Uh5Ri
jAZub25saW6UiHWGlGJoDymBlH2UfZQoaBNdlChoF2gahZRSlEc/0BeaWUsrjEcAAAAAAAAAAH2Uh5RiaBdoGoWUUpRHv+vOYAsnu3BHAAAAAAAAAAB9
lIeUYmVoI2gXaBqFlFKURwAAAAAAAAAARwAAAAAAAAAAfZSHlGJoKIh1hpRiZXOGlGJoCCmBlH2UfZRoDF2UaA8pgZR9lH2UKGgTXZQoaBdoGoWUUpRH
v+8oQXC6vWxHAAAAAAAAAAB9lIeUYmgXaBqFlFKURz/lmRfrwPziRwAAAAAAAAAAfZSHlGJlaCNoF2gahZRSlEcAAAAAAAAAAEcAAAAAAAAAAH2Uh5Ri
aCiJdYaUYmFzhpRiZXNiLg==
""",
    "mlp.MLP": """
gAWVhwEAAAAAAACMDW1pY3JvZ3JhZC5tbHCUjANNTFCUk5QpgZR9lIwGbGF5ZXJzlF2UaACMBUxheWVylJOUKYGUfZR9lIwHbmV1cm9uc5RdlChoAIwG
TmV1cm9ulJOUKYGUfZR9lCiMAXeUXZQojA9taWNyb2dyYWQuX2NvcmWUjAVfYmFyZZSTlIwPbWljcm9ncmFkLl9jb3JllIwFVmFsdWWUk5SFlFKUR7/e
zXzXL/x0RwAAAAAAAAAAfZSHlGJoF2gahZRSlEe/4QC4tndO4EcAAAAAAAAAAH2Uh5RiZYwBYpRoF2gahZRSlEc/77ilHby4HEcAAAAAAAAAAH2Uh5Ri
jAZub25saW6UiHWGlGJoDymBlH2UfZQoaBNdlChoF2gahZRSlEe/rnM+OsFeQEcAAAAAAAAAAH2Uh5RiaBdoGoWUUpRHP+WIlZxlpQZHAAAAAAAAAAB9
lIeUYmVoI2gXaBqFlFKUR7+oNt1NKrHARwAAAAAAAAAAfZSHlGJoKIh1hpRiZXOGlGJhc2Iu
""",
    "nn.Neuron": """
gAWV2QAAAAAAAACMDG1pY3JvZ3JhZC5ubpSMBk5ldXJvbpSTlCmBlH2UjAVleHRyYZRLA3N9lCiMAXeUXZQojA9taWNyb2dyYWQuX2NvcmWUjAVfYmFy
ZZSTlIwPbWljcm9ncmFkLl9jb3JllIwFVmFsdWWUk5SFlFKUR7/gxTADQkV8RwAAAAAAAAAAfZSHlGJoC2gOhZRSlEc/tqU2iFjY0EcAAAAAAAAAAH2U
h5RiZYwBYpRoC2gOhZRSlEcAAAAAAAAAAEcAAAAAAAAAAH2Uh5RijAZub25saW6UiHWGlGIu
""",
    "optim.SGD": """
gAWVpgEAAAAAAACMD21pY3JvZ3JhZC5vcHRpbZSMA1NHRJSTlCmBlH2UKIwIZGVmYXVsdHOUfZQojAJscpRHP9AAAAAAAACMCG1vbWVudHVtlEc/4AAA
AAAAAIwJZGFtcGVuaW5nlEsAjAx3ZWlnaHRfZGVjYXmUSwCMCG5lc3Rlcm92lImMCG1heGltaXpllIl1jAxwYXJhbV9ncm91cHOUXZR9lCiMBnBhcmFt
c5RdlCiMD21pY3JvZ3JhZC5fY29yZZSMBV9iYXJllJOUjA9taWNyb2dyYWQuX2NvcmWUjAVWYWx1ZZSTlIWUUpRHv+AAAAAAAABHAAAAAAAAAAB9lIeU
YmgUaBeFlFKURz/6AAAAAAAARwAAAAAAAAAAfZSHlGJlaAdHP9AAAAAAAABoCEc/4AAAAAAAAGgJSwBoCksAaAuJaAyJdWGMB19zdGF0ZXOUXZSMEG1p
Y3JvZ3JhZC5fb3B0aW2UjAVTdGF0ZZSTlGgZaB2GlF2UKEc/8AAAAAAAAEdAAAAAAAAAAIaURz/wAAAAAAAARz/gAAAAAAAAhpRlSwKHlFKUYXViLg==
""",
    "optim.Adam": """
gAWV8gEAAAAAAACMD21pY3JvZ3JhZC5vcHRpbZSMBEFkYW2Uk5QpgZR9lCiMCGRlZmF1bHRzlH2UKIwCbHKURz/QAAAAAAAAjAViZXRhc5RHP+zMzMzM
zM1HP+/3ztkWhyuGlIwDZXBzlEc+RXmO4jCMOowMd2VpZ2h0X2RlY2F5lEsAjAdhbXNncmFklImMCG1heGltaXpllImMFmRlY291cGxlZF93ZWlnaHRf
ZGVjYXmUiXWMDHBhcmFtX2dyb3Vwc5RdlH2UKIwGcGFyYW1zlF2UKIwPbWljcm9ncmFkLl9jb3JllIwFX2JhcmWUk5SMD21pY3JvZ3JhZC5fY29yZZSM
BVZhbHVllJOUhZRSlEc/4EBw6SESVEdABQAAAMwCzn2Uh5RiaBZoGYWUUpRHP/g0VI2DMZpHP+IAAACA2Vp9lIeUYmVoB0c/0AAAAAAAAGgIaAloCkc+
RXmO4jCMOmgLSwBoDIloDYloDol1YYwHX3N0YXRlc5RdlIwQbWljcm9ncmFkLl9vcHRpbZSMBVN0YXRllJOUaBtoH4aUXZQoKEdAAAAAAAAAAEc/4+uF
Hwnso0c/l2xyGasoZUcAAAAAAAAAAHSUKEdAAAAAAAAAAEc/wrhR67io20c/VY02tRIq30cAAAAAAAAAAHSUZUsEh5RSlGF1Yi4=
""",
    "optim.AdamW": """
gAWVAQIAAAAAAACMD21pY3JvZ3JhZC5vcHRpbZSMBUFkYW1XlJOUKYGUfZQojAhkZWZhdWx0c5R9lCiMAmxylEc/0AAAAAAAAIwFYmV0YXOURz/szMzM
zMzNRz/v987ZFocrhpSMA2Vwc5RHPkV5juIwjDqMDHdlaWdodF9kZWNheZRHP4R64UeuFHuMB2Ftc2dyYWSUiYwIbWF4aW1pemWUiYwWZGVjb3VwbGVk
X3dlaWdodF9kZWNheZSIdYwMcGFyYW1fZ3JvdXBzlF2UfZQojAZwYXJhbXOUXZQojA9taWNyb2dyYWQuX2NvcmWUjAVfYmFyZZSTlIwPbWljcm9ncmFk
Ll9jb3JllIwFVmFsdWWUk5SFlFKURz/gHiPJUuc9R0AE3sVuKFiOfZSHlGJoFmgZhZRSlEc/+A7rLW+QCkc/4eFUygZb132Uh5RiZWgHRz/QAAAAAAAA
aAhoCWgKRz5FeY7iMIw6aAtHP4R64UeuFHtoDIloDYloDoh1YYwHX3N0YXRlc5RdlIwQbWljcm9ncmFkLl9vcHRpbZSMBVN0YXRllJOUaBtoH4aUXZQo
KEdAAAAAAAAAAEc/4946ffuoikc/l1YvWYr/v0cAAAAAAAAAAHSUKEdAAAAAAAAAAEc/wqwNb4ep2kc/VXubdTrW80cAAAAAAAAAAHSUZUsEh5RSlGF1
Yi4=
""",
}
NETWORKS = {  # class, what it prints, outputs for [1.0, -2.0]
    "nn.MLP": (
        "micrograd.nn.MLP",
        "MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(2)]]",
        [1.3426714790708683],
    ),
    "mlp.MLP": (
        "micrograd.nn_tanh.MLP",
        "MLP of [Layer of [TanhNeuron(2), TanhNeuron(2)]]",
        [0.9174500335616084, -0.8962082224298604],
    ),
    "nn.Neuron": ("micrograd.nn.Neuron", "ReLUNeuron(2)", [0.0]),
}

LOAD = """
import base64, pickle
loaded = pickle.loads(base64.b64decode({text!r}))
"""


def test_networks(isolated):
    for name, (kind, printed, outputs) in NETWORKS.items():
        source = (
            LOAD.format(text=PICKLES[name])
            + """
import json
outputs = loaded([1.0, -2.0])
kind = type(loaded)
outputs = outputs if isinstance(outputs, list) else [outputs]
print(json.dumps([f"{kind.__module__}.{kind.__name__}", repr(loaded), [y.data for y in outputs]]))
"""
        )
        assert json.loads(isolated(source)) == [kind, printed, pytest.approx(outputs, rel=1e-15)]


def test_what_stood_beside_the_fields(isolated):
    assert isolated(LOAD.format(text=PICKLES["nn.Neuron"]) + "print(loaded.extra, len(loaded.parameters()))") == "3 3\n"


@pytest.mark.parametrize(("name", "options"), [("SGD", {"momentum": 0.5}), ("Adam", {}), ("AdamW", {})])
def test_optimizers_go_on_where_they_stopped(isolated, name, options):
    source = (
        LOAD.format(text=PICKLES[f"optim.{name}"])
        + f"""
from micrograd import Value, optim

def step(optimizer):
    x, y = optimizer.param_groups[0]["params"]
    optimizer.zero_grad()
    (x * x * y).backward()
    optimizer.step()
    return x.data, y.data

fresh = optim.{name}([Value(1.0), Value(2.0)], lr=0.25, **{options!r})
for _ in range(2):
    step(fresh)
print(loaded.state_dict() == fresh.state_dict(), step(loaded) == step(fresh), loaded.state_dict() == fresh.state_dict())
"""
    )
    assert isolated(source) == "True True True\n"


def test_the_old_name_is_of_the_same_classes(isolated):
    source = "import micrograd; from micrograd import mlp, nn_tanh; print(mlp.MLP is nn_tanh.MLP is micrograd.MLP)"
    assert isolated(source) == "True\n"
