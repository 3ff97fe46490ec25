"""Configuration files of the bash ANetCon."""

README = """\
# Setting this other than "empty value", anetcon will show more information
# DEBUG=true
NAMESPACES=( "^qrouter-.*$" )
#NETS=( "qrouter-a4fadad3-e529-4329-a086-010b84363596" "10.0.0.0/8 192.168.1.1/24" )
PERIOD=30
# CHAIN_NAME=anetcon
# LOG_PREFIX="[ANETCON]"
"""
EVERYTHING = """\
DEBUG=yes
NAMESPACES=( "^qrouter-.*$"   # routers
  default )
NAMESPACES+=( 'snat-\\(a\\|b\\)' )
ROUTER="qrouter-a4fadad3-e529-4329-a086-010b84363596"
NETS=( "$ROUTER" "10.0.0.0/8 192.168.1.1/24"
       qrouter-b "2001:db8::/32" )
PERIOD="7.5"; CHAIN_NAME=audit
LOG_PREFIX="[AUDIT]"
LOG_PREFIX_DNAT="[F]"
LOG_PREFIX_OTHER="[N]"
LOG_NAMESPACE_HASH=false
NAMESPACE_HASH_FILE=
export LOGFILE=/var/log/audit.log
"""
