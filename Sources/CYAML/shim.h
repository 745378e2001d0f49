/* libyaml 0.2 (Debian: libyaml-dev) as a module: the event parser is all that memvpd uses, so nothing is wrapped. */
#ifndef MEMVP_CYAML_SHIM_H
#define MEMVP_CYAML_SHIM_H

#include <yaml.h>

#endif
