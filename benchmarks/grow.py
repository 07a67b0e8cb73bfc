"""A larger `crnn_small` that reads as a smaller one does: new features start unheard, new blocks change nothing

Used by train_weights.py: what the small model has learnt is a start for the large one, which a training then fills
(after Chen, Goodfellow and Shlens 2016, Net2Net: https://arxiv.org/abs/1511.05641).
"""
import torch

def _pasted(new, old):
    "`old` in the first places of `new`; what the old outputs would take from new inputs is 0"
    out = new.clone()
    if old.dim()>1: out[:old.shape[0]] = 0
    out[tuple(slice(o) for o in old.shape)] = old
    return out

def _gates(new, old):
    "Weights of an LSTM: each of its four gates grows for itself"
    parts = [_pasted(a, b) for a,b in zip(new.chunk(4), old.chunk(4))]
    return torch.cat(parts)

def _scores(new, old, n_new, n_old):
    "Weights of the last layer, over the columns' features and both directions of the LSTM"
    hidden = (new.shape[1]-n_new)//2,(old.shape[1]-n_old)//2
    to = torch.split(torch.zeros_like(new), [n_new,hidden[0],hidden[0]], 1)
    parts = torch.split(old, [n_old,hidden[1],hidden[1]], 1)
    return torch.cat([_pasted(a, b) for a,b in zip(to, parts)], 1)

def _places(names):
    "Stage and place of each layer of a body with weights of these names: `{'body.3': (2,1)}`"
    layers = sorted({int(o.split('.')[1]) for o in names if o.startswith('body.')})
    res,stage,place = {},0,0
    for i in layers:
        block = any(o.startswith(f'body.{i}.convs.') for o in names)
        stage,place = (stage,place+1) if block else (stage+1,0)
        res[f'body.{i}'] = stage,place
    return res

def _renamed(small, names):
    "The state dict `small` with the names that its layers have where stages are longer"
    to = {v:k for k,v in _places(names).items()}
    here = {k:to[v] for k,v in _places(small).items()}
    layer = lambda name: '.'.join(name.split('.')[:2])
    return {here.get(layer(k), layer(k))+k[len(layer(k)):]:v for k,v in small.items()}

def _silent(model, names):
    "Residual blocks that the old model hasn't: their sum adds nothing"
    for name,m in model.body.named_children():
        if f'body.{name}.convs.1.1.weight' in names or not hasattr(m, 'convs'): continue
        torch.nn.init.zeros_(m.convs[1][1].weight)
        torch.nn.init.zeros_(m.convs[1][1].bias)

@torch.no_grad()
def grow(model, small):
    "Copy the state dict `small` into `model`, a `crnn_small` with no fewer features in any place"
    n_new,n_old = len(model.neck.norm.weight),len(small['neck.norm.weight'])
    state = model.state_dict()
    small = _renamed(small, state)
    _silent(model, small)
    state = model.state_dict()
    for name,old in small.items():
        new = state[name]
        if old.shape==new.shape: state[name] = old
        elif '.lstm.' in name: state[name] = _gates(new, old)
        elif name.startswith('head'): state[name] = _scores(new, old, n_new, n_old)
        else: state[name] = _pasted(new, old)
    model.load_state_dict(state)
