from models.dialects import *
