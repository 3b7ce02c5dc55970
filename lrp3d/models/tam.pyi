from models.tam import *
