from models.zoo import *
