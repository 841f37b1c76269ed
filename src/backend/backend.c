#include "backend/backend.h"

const char *backend_engine_text(enum backend_engine engine) {
  switch (engine) {
  case BACKEND_ENGINE_LOAD:
    return "load";
  case BACKEND_ENGINE_INPUT:
    return "input";
  case BACKEND_ENGINE_EXECUTE:
    return "execute";
  case BACKEND_ENGINE_OUTPUT:
    return "output";
  case BACKEND_ENGINES:
    break;
  }
  return "unknown engine";
}
