"""What `crowetrade new` writes: a project of a model, ready to be tested and run.

The folder `strategy` is such a project, of the name my-alpha: its code is checked and its tests run where it lies. It
is copied with another name in place of that one.
"""
