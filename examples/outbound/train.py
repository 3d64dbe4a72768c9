"""A small regression over two sites: who they are and where they meet is in the environment."""

import torch
from torch.utils.data import DataLoader, TensorDataset

import skep.train

torch.set_num_threads(1)
torch.manual_seed(0)
inputs = torch.randn(4_000, 8)
data = TensorDataset(inputs, inputs.sin().sum(1, keepdim=True))
loader = DataLoader(data, batch_size=16, shuffle=True)
model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

with skep.train.join(model, optimizer, on_event=print) as run:
    for _ in range(2):
        for x, y in run.data(loader):
            loss = torch.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=loss.detach())
    run.finish()
    print("digest", run.digest, "loss", round(float(loss.detach()), 3))
