

@pytest.mark.parametrize("divided", [False, True])
def test_heads_that_are_folded_into_the_batch_are_compared_each_with_itself(divided):
    class Attention(nn.Module):
        def __init__(self, folds):
            super().__init__()
            torch.manual_seed(7)
            self.conv, self.fc = nn.Conv3d(3, 8, (1, 4, 4), (1, 4, 4)), nn.Linear(8, 5)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.folds = folds  # torch's own code folds heads into the batch where it returns weights

        def forward(self, x):
            x = self.conv(x).relu().permute(0, 3, 4, 2, 1)  # b h w t c
            places = x.shape[:3]
            x = x.flatten(0, 2) if divided else x.mean((1, 2))
            x = x + self.attention(x, x, x, need_weights=self.folds)[0]
            return self.fc((x.unflatten(0, places).mean((1, 2)) if divided else x).mean(1))

    clip = torch.rand(2, 3, 4, 8, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    kept, folded = (
        lrp3d.explain(Attention(folds).double().eval(), clip, 0, contrastive=False, motion=True, input_range=(0, 1))
        for folds in (False, True)
    )
    torch.testing.assert_close(folded.relevance, kept.relevance)
    torch.testing.assert_close(folded.dynamic, kept.dynamic, rtol=1e-9, atol=1e-12)
