import sys; sys.path.insert(0,'/work/main/src')
import random
from micrograd.nn import MLP; from micrograd import Value
random.seed(1337)
m=MLP(2,[16,16,1]); p=m.parameters()[0]
x=[Value(.5),Value(-.3)]
def f():
    for _ in range(2100): m(x)
f()
