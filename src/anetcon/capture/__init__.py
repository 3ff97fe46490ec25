"""The capture process: namespaces' sockets, or whatever an engine reads, -> columns -> journal. It waits for nothing.

main          the process
settings      what it uses of the configuration
recording     what every part records with, made once
beginning     what the capture before this one left
loop          turns: what comes is taken, what is due is flushed, what the keeper says is done
poll          the descriptors that are listened to
lifecycle     namespaces come and go
keeper        the keeper, as capture speaks with it
clock_steps   the wall clock was set, or the machine slept

engine/       where connections are learnt from: conntrack, the kernel's log
recvmmsg      many datagrams in one system call
pipeline      messages -> decoded, classified, chosen rows
codes         numbers of the namespaces within the columns
batch         columns -> Arrow
writer        the journal's tables: the one door
segments      the files that are being written
trouble       the journal cannot be written
backlog       what waits in memory while the disk takes nothing
lasting       gaps that last, beside the journal
vanished      namespaces that were listened to, beside the journal

namespace     one namespace and its sockets
surroundings  its addresses, neighbours and routes: asked for and heard
addresses     these as intervals
routes        what a route message says
flood         neighbours that are too many

requests      one question to the kernel at a time
table_dumps   what a connection table tells
ageless       connections without a start time
losses        the drop counters
listings      a table is listed again after a loss
starts        starts that did not come
repeats       ends that come again and again
tracking      whether connection tracking runs
hidden        rules that hide connections
untracked     packets that conntrack calls invalid: how many
sampled_packets  and a sample of them

kernel_lines  lines of LOG rules -> rows and gaps
localclock    kernel log time -> wall clock
"""
