from models.base import *
