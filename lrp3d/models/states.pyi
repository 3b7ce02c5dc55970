from models.states import *
