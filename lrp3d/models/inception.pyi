from models.inception import *
