from models.claims import *
