import sys; sys.path.insert(0,'/work/main/src')
import random
from micrograd import MLP, Value
random.seed(1337)
m=MLP(3,[4,4,1]); p=m.parameters()[0]
x=[-2.0,3.0,-1.0]
def f():
    for _ in range(2100): m(x)
f()
