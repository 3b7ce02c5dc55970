from models.wording import *
