from models.fitting import *
