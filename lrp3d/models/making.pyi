from models.making import *
