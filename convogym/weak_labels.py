"""Guesses which published goals a line carries out, from its words and its question form. Knows nothing of models or files.

For corpora without labels. Precision comes before recall: a line without a guess may well carry out a goal. Whoever measures how well
lines carry out their goals must judge by something else than this lexicon, because it labels training data.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from convogym.dialogue import Dialogue
from convogym.goals import PUBLISHED_GOALS

_WORD = re.compile(r"[a-z']+")
_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
_YEAR = re.compile(r"\((?:19|20)\d\d\)")  # ReDial writes films as "Heat (1995)"
_SPELLINGS = str.maketrans({"\u2019": "'", "\u2018": "'", "`": "'", "\n": " ", "\t": " "})
_YOU = re.compile(r"\b(?:you|your|yours|u|ya|ur|you're|you've|you'd)\b")
_BOUNCE = re.compile(
    r"^\W*(?:(?:so|and|but|or|well)\b\W*)*"
    r"(?:(?:what|how) (?:about|bout|of) (?:you|u|yours|yourself|your end)(?: guys| all)?"
    r"|(?:you|u|yours|yourself)"
    r"|(?:do|are|have|did|can|would|were|don't|aren't|haven't) (?:you|u)"
    r"(?: too| also| either| as well| (?:like|love|enjoy|have|got|own) (?:it|them|that|one|any|some)(?: too)?)?)\W*\?+\s*$"
)
_MAX_FOLLOW_UP_WORDS = 7  # a question this short leans on the statement before it


@dataclass(frozen=True)
class _Rule:
    """How one goal shows in a lower-case line."""

    triggers: frozenset[str]
    """words without one of which the rule is not even tried"""
    ask: re.Pattern[str]
    """question forms that are enough by themselves"""
    topic: re.Pattern[str] | None = None
    """enough inside a question"""
    topic_needs_you: bool = True
    """the question that holds the topic must also speak to "you" """
    statement: re.Pattern[str] | None = None
    """first-person statements which a bounced question ("and you?") turns into this goal"""
    follow_up: bool = False
    """a short question to "you" right after a sentence with the topic is enough too"""
    veto: re.Pattern[str] | None = None
    """look-alikes, cut out of the line before anything else is tried"""


def _rule(
    triggers: str,
    ask: str,
    topic: str | None = None,
    *,
    topic_needs_you: bool = True,
    statement: str | None = None,
    follow_up: bool = False,
    veto: str | None = None,
) -> _Rule:
    compiled = [re.compile(rf"(?:{pattern})") if pattern else None for pattern in (topic, statement, veto)]
    return _Rule(frozenset(triggers.split()), re.compile(rf"(?:{ask})"), compiled[0], topic_needs_you, compiled[1], follow_up, compiled[2])


_U = r"(?:you|u|ya|y'all)(?: guys| two| all)?"
_SOME = r"(?:\w+[ ,]+){0,3}?"  # a few words in between
_KID = r"(?:kids|children|grandkids|grandchildren|sons?|daughters?|little ones|toddlers?|stepkids|stepchildren)"
_PET = (
    r"(?:pets?|dogs?|doggies|doggy|cats?|pupp(?:y|ies)|pups?|kittens?|kitt(?:y|ies)|hamsters?|parrots?|guinea pigs?|"
    r"goldfish|rabbits?|bunn(?:y|ies)|ferrets?|pooch)"
)
_JOB = r"(?:job|occupation|profession|career|line of work|day job|boss|coworkers?|co-workers?|colleagues|workplace|employer|work schedule)"
_SPOUSE = r"(?:wife|husband|girlfriend|boyfriend|spouse|fianc[eé]e?|hubby|significant other|gf|bf|better half)"
_FOOD = (
    r"(?:foods?|meals?|dish(?:es)?|snacks?|desserts?|cuisines?|restaurants?|fruits?|vegetables?|ice cream|pizza|candy|breakfast|lunch|"
    r"dinner|sandwich|thing to eat|junk food|comfort food|toppings?|flavou?r|pasta|takeout)"
)
_EDIBLE = (
    r"(?:pizza|sushi|tacos?|pasta|seafood|steak|chocolate|ice cream|spicy|sweets|burgers?|hamburgers?|cheese|bacon|chicken|salads?|"
    r"vegetables|veggies|fruit|meat|noodles|ramen|pancakes|waffles|candy|cheeseburgers|spaghetti|lasagna|curry|fast food|"
    r"(?:mexican|italian|chinese|indian|thai|japanese|korean|asian|french|greek|vegan|spicy|junk|sea) ?food)"
)
_PLACE = (
    r"(?:europe|asia|africa|australia|paris|london|italy|rome|france|germany|spain|greece|england|ireland|scotland|japan|tokyo|china|india|"
    r"thailand|mexico|canada|brazil|peru|russia|egypt|hawaii|alaska|iceland|norway|sweden|switzerland|austria|vienna|prague|amsterdam|"
    r"portugal|lisbon|turkey|israel|vietnam|bali|new zealand|the caribbean|cuba|costa rica|jamaica|bahamas|the bahamas|disney ?(?:land|world)|"
    r"new york|nyc|las vegas|vegas|california|florida|texas|chicago|san francisco|los angeles|miami|new orleans|the grand canyon|yellowstone|"
    r"yosemite|another country|other countries|foreign countries|a foreign country|croatia|malta)"
)
_MOVIE = r"(?:movies?|films?|cinema|trailer|sequel|prequel|box office|movie theat(?:er|re)s?|rom ?coms?|filmmakers?|oscars?)"
_MUSIC = (
    r"(?:music|songs?|bands?|concerts?|albums?|musicians?|rappers?|playlist|musical instruments?|lyrics|"
    r"spotify|tunes?|karaoke)"
)
_POLITICS = (
    r"(?:politics?|political(?:ly)?|politicians?|elections?|vot(?:e|es|ed|ing|er|ers)|congress|senat(?:e|ors?)|democrats?|republicans?|"
    r"parliament|prime minister|mayor|trump|obama|clinton|government|the president|presidents|presidential|taxes|liberals?|conservatives?|"
    r"governor|city council|town council|the council|white house|immigration|gun control)"
)

# In the order of PUBLISHED_GOALS. Patterns see one lower-case line with single blanks; "what is" may be spelled three ways.
_IS = r"(?:'?s| is| are|'re)"
_RULES: tuple[_Rule, ...] = (
    _rule(
        "kid kids children child son sons daughter daughters grandkids grandchildren toddler toddlers mom mother dad father parent family "
        "ones baby babies stepkids stepchildren",
        rf"\b(?:do|did|have|would|will) {_U} {_SOME}(?:have|got|want|raise|like) {_SOME}(?:{_KID}|kid|child|baby|babies)\b"
        rf"|\b(?:have|got) {_U} (?:got )?(?:any )?{_KID}\b"
        rf"|\bhow (?:old|many) (?:are |is )?(?:your |of )?{_KID}\b"
        r"|\bare (?:you|u) (?:a|an) (?:\w+ )?(?:mom|mother|dad|father|parent)\b(?! (?:of|to) (?:a )?(?:cat|dog|pet))"
        rf"|\bany (?:kids|children|little ones|grandkids|grandchildren)\b[^.!]*\?|\btell me (?:\w+ )?about your (?:{_KID}|family)\b",
        rf"\byour (?:\w+ )?(?:{_KID}|kid|baby)\b",
        statement=r"\b(?:i|we)(?:'ve| have|'m| am) (?:\w+ ){0,3}(?:kids|children|sons?|daughters?|toddlers?|mom|mother|dad|father)\b",
        veto=r"\b(?:kids'? (?:movies?|films?|shows?|songs?|music|cartoons?|books?|meals?|games?)|only child|inner child|as (?:kids|children)"
        r"|when you were (?:\w+ )?(?:kids|children)|(?:like|with|for|teach|teaching) (?:kids|children)|work(?:ing)? with (?:kids|children)"
        r"|(?:fur|dog|cat) bab(?:y|ies))\b",
    ),
    _rule(
        "pet pets dog dogs doggy doggies cat cats puppy puppies pup pups kitten kittens kitty kitties animal animals hamster hamsters parrot "
        "parrots pigs pig goldfish rabbit rabbits bunny bunnies ferret ferrets pooch fish bird birds horse horses turtle snake",
        rf"\b(?:do|did|have|are|would) {_U} {_SOME}(?:have|got|own|like|love|want|keep) {_SOME}(?:{_PET}|animals)\b"
        rf"|\b(?:do|have) {_U} {_SOME}(?:have|got|own) (?:a|any) {_SOME}(?:fish|birds?|horses?|turtles?|snakes?)\b"
        rf"|\bhave (?:you|u) (?:got )?(?:any |a )?{_PET}\b"
        r"|\bare (?:you|u) (?:a|an|more of a) (?:\w+ )?(?:cat|dog|animal|pet)s? (?:person|lover|fan|owner)\b"
        rf"|\bany (?:other )?(?:pets|dogs|cats|animals)\b[^.!]*\?|\bwhat (?:kind|kinds|type|breed|sort)s?(?: of)? (?:pets?|dogs?|cats?|animals?) do(?:es)? (?:you|u)\b"
        rf"|\bhow many (?:pets|dogs|cats|animals) (?:do|have) (?:you|u)\b|\btell me (?:\w+ )?about your {_PET}\b"
        rf"|\bwhat{_IS} your favou?rite animals?\b",
        rf"\byour (?:\w+ )?{_PET}\b",
        statement=rf"\b(?:i|we)(?:'ve| have| own| got)(?: got)? (?:\w+ ){{0,3}}{_PET}\b|\bi(?:'m| am) a (?:cat|dog|animal) (?:person|lover)\b"
        rf"|\bi (?:really )?(?:love|like|hate) (?:my )?(?:{_PET}|animals)\b",
        veto=r"\b(?:(?:hot|corn|chili|snoop|reservoir|top|under|prairie) ?dogs?|dog days|cat ?woman|pet ?(?:peeves?|sounds|shop|sematary)|cat in the hat|"
        r"cat stevens|dog (?:food|fight|park)|isle of dogs|secret life of pets|pussy ?cat)\b",
    ),
    _rule(
        "work job jobs living occupation profession career boss coworker coworkers co-workers colleagues workplace employer working employed "
        "works do retired worked",
        r"\bwhat (?:do|did|does) (?:you|u|ya) (?:\w+ )?do (?:for|as) (?:an? |your )?(?:living|work|job|career)\b"
        r"|(?:^|[.!?] ?|\b(?:so|and|well|but|hi|hey|hello|oh|nice|cool|great|ok|okay|now)[, ]+)what do (?:you|u|ya) do(?: (?:there|now|by day))?\s*(?:\?|$)"
        r"|\b(?:where|who|when|what days) do (?:you|u) work\b(?! ?out)|\bdo (?:you|u) (?:still |currently |also |even )?(?:work|have a (?:\w+ )?job)\b(?! ?out)"
        rf"|\bwhat{_IS} your (?:current |day |dream |real )?(?:{_JOB}|work)\b|\bwhat (?:kind|type|sort|line)s?(?: of)? (?:work|job|business|career)\b"
        r"|\bhow(?:'?s| is| was| did)? (?:your )?(?:new )?(?:work|job)(?: going| today| treating you)? ?(?:\?|$)"
        r"|\bare (?:you|u) (?:currently |still )?(?:working(?! out| on)|employed|retired)\b"
        r"|\bhow long have (?:you|u) (?:been (?:working|doing that job)|worked)\b(?! out)"
        r"|\bwhat (?:made|makes) you (?:want to )?become an?\b|\bhow did you (?:get into|become an?) (?:that (?:job|work|field|career))",
        rf"\byour (?:\w+ )?{_JOB}\b|\b(?:like|love|enjoy|hate) (?:your|the) (?:job|work)\b",
        statement=r"\bi (?:\w+ )?work (?:as|at|for|in|with|from)\b|\bi(?:'m| am) (?:a|an) (?:\w+ ){0,2}"
        r"(?:nurse|teacher|lawyer|doctor|engineer|accountant|programmer|waitress|waiter|cashier|manager|driver|writer|artist|chef|mechanic|electrician)\b"
        r"|\bmy (?:job|work) is\b|\bi just got (?:home|off|back) (?:from|of)? ?work\b",
        veto=r"\b(?:work(?:ing|ed)? ?outs?|working out|work of art|(?:does|did|would|will|could|might|can) (?:that|this|it) work|"
        r"(?:how|what) (?:does|do|did) (?:it|that|they|this) work|boss (?:baby|fights?))\b",
    ),
    _rule(
        "married single dating divorced engaged wife husband girlfriend boyfriend spouse fiance fiancee fiancé fiancée hubby other gf bf "
        "partner marriage relationship marital half seeing someone anyone widowed wedding",
        r"\bare (?:you|u|you guys|you two) (?:\w+ ){0,2}?(?:married|single(?! (?:mom|dad|mother|father))|divorced|engaged|in a relationship|widowed|seeing (?:someone|anyone)"
        r"|dating(?: anyone| someone)?)\b(?! (?:in|about|with) (?:the|a|this|that) )"
        rf"|\b(?:do|have) (?:you|u) {_SOME}(?:have|got) (?:a |an |any )?(?:\w+ )?(?:{_SPOUSE}|partner)\b"
        r"|\bhow long have (?:you|u)(?: two| guys| both)? been (?:married|together|single|divorced|engaged)\b"
        r"|\bhave (?:you|u) (?:ever |been )?(?:been |gotten |got )?(?:married|divorced)\b|\b(?:when|where) did (?:you|u)(?: two| guys)? get married\b"
        r"|\bmarital status\b|\bdo (?:you|u) (?:\w+ )?want to get married\b|\bis there (?:a|any) (?:mrs|mr|wife|husband|girlfriend|boyfriend)\b"
        r"|\bany (?:wife|husband|girlfriend|boyfriend)\b[^.!]*\?",
        rf"\byour (?:\w+ )?(?:{_SPOUSE}|marriage|wedding)\b",
        statement=rf"\bi(?:'m| am) (?:\w+ ){{0,2}}(?:married|single|divorced|engaged|widowed)\b|\bi have a (?:\w+ )?{_SPOUSE}\b",
        veto=r"\b(?:(?:new|hit|latest|first|the|debut|song|every|a|his|her|their) singles?(?! (?:man|woman|guy|girl))|single (?:player|season|one|time)|married to the mob)\b",
    ),
    _rule(
        "travel traveled travelled traveling travelling trip trips vacation vacations abroad country countries overseas visit visited places "
        "place destination been flying holiday go fly",
        rf"\b(?:do|did|have|would) (?:you|u) {_SOME}(?:travel|traveled|travelled)\b"
        rf"|\bhave (?:you|u) (?:\w+ )?(?:been|gone|traveled|travelled|flown|visited)(?: to| in)? (?:abroad|overseas|out of (?:the )?(?:country|state|us)|outside (?:of )?(?:the )?\w+|{_PLACE})\b"
        r"|\bwhere (?:have|did|do|would|are|will) (?:you|u) (?:\w+ ){0,4}?(?:travel|travel(?:l)?ed|travel(?:l)?ing|visit|visited|vacation|(?:for|on) (?:your )?(?:vacation|holiday))\b"
        rf"|\bwhat{_IS} (?:\w+ )?(?:of )?your favou?rite (?:places?|destinations?|vacation|trip|country|countries|city)(?: spots?| destinations?)?(?: (?:to|you)|\W|$)(?! ?(?:eat|shop|music))"
        r"|\b(?:what|which|how many) (?:other )?(?:countries|country|places|cities|states) (?:have|did|would|do|are) (?:you|u) (?:\w+ ){0,4}?(?:been|visit|visited|travel(?:l?ed)?|go)\b"
        r"|\bdo (?:you|u) (?:\w+ ){0,3}(?:go|take) (?:on )?(?:\w+ )?(?:vacations?|trips|holidays?)\b|\bhave (?:you|u) (?:\w+ )?visited\b(?! the (?:site|website|page))",
        r"\b(?:travel(?:l?ing|l?ed|s)?|vacations?|abroad|overseas|road ?trip|your (?:next |last )?(?:trip|holiday))\b",
        statement=rf"\bi (?:\w+ ){{0,2}}(?:love|like|enjoy|want|hate) (?:to )?travel(?:l?ing)?\b|\bi (?:\w+ )?travel(?:l?ed)? (?:to|a lot|all)\b"
        rf"|\bi(?:'ve| have) (?:\w+ )?been to {_PLACE}\b|\b(?:went|going) (?:on|to) (?:a )?(?:vacation|trip|holiday|{_PLACE})\b",
        follow_up=True,
        veto=r"\b(?:country (?:music|songs?|singers?|artists?|bands?|star|fan|genre|stuff|concerts?)|camping trip|time travel(?:l?ing|l?er)?|travel(?:l?ing|s)? (?:through|in|back) (?:in )?(?:time|space)"
        r"|a quiet place|(?:sound|light|space) travels?)\b",
    ),
    _rule(
        "i'm am old age gender born young male female man woman girl boy guy teenager birthday lady older younger",
        r"\bhow (?:old|young) (?:are|r) (?:you|u)\b|\bhow old (?:did|do) you say you\b|\bwhat(?:'?s| is) (?:your|ur) (?:age|gender|sex)\b"
        r"|\bwhat (?:age|gender) are (?:you|u)\b|\b(?:ask|know|tell me) (?:\w+ )?(?:your (?:age|gender)|how old (?:you|u) are)\b"
        r"|\b(?:what year|when) were (?:you|u) born\b|\bare (?:you|u) (?:an? )?(?:male|female|man|woman|guy|girl|boy|lady)(?: or (?:an? )?\w+)?\s*(?:\?|$)"
        r"|\bare (?:you|u) (?:in your (?:teens|twenties|thirties|forties|fifties|sixties|\d0s)|a teenager|a teen|over (?:\d\d|thirty|forty|fifty|sixty))\b"
        r"|\bare (?:you|u) (?:older|younger) than (?:me|i)\b|\bhow old (?:were|will) (?:you|u)\b(?! when (?:you|u) (?:first )?(?:saw|heard|watched|read|it))",
        r"\byour age\b|\bold are you\b",
        statement=r"\bi(?:'m| am) (?:\w+ )?(?:\d\d|twenty|thirty|forty|fifty|sixty|seventy)(?:[ -](?:one|two|three|four|five|six|seven|eight|nine))?"
        r"(?: years? old| yrs? old|,? (?:and )?(?:male|female|m|f)\b|\W*(?:and|how|what|you)|\W*$)",
        veto=r"\b(?:how old are you (?:guys )?(?:thinking|talking))\b",
    ),
    _rule(
        "hobby hobbies fun free spare interests enjoy weekends weekend relax unwind pastime downtime down time do into bored passionate work",
        rf"\bhobb(?:y|ies) (?:do|are|have) (?:you|u)\b|\bhobbies ?\?|\bwhat (?:do|did|would) {_U} (?:\w+ ){{0,4}}?do(?:ing)? (?:for fun|for entertainment|to (?:relax|unwind|pass the time|have fun|keep busy)|outside (?:of )?work"
        r"|(?:in|on|with|during) (?:your|ur) (?:\w+ )?(?:free|spare|down|off|leisure|own)\b|(?:on|over|at|during) (?:the |your )?(?:weekends|days? off)"
        r"|when (?:you're|you are|u are|your|you aren't|you are n't) (?:not (?:working|at work)|off|bored|free)|when you (?:aren't|don't) work(?:ing)?|after work)\b"
        rf"|\bhow do {_U} (?:\w+ ){{0,3}}?spend (?:your|ur|the) (?:\w+ )?(?:time|weekends|evenings|days off|downtime)\b"
        r"|\bwhat (?:else )?(?:do|are) (?:you|u) (?:\w+ )?(?:like to do|enjoy doing|love to do|like doing|into|passionate about)\s*(?:\?|$|besides)"
        rf"|\bwhat{_IS} (?:\w+ )?(?:of )?your (?:\w+ )?(?:hobb(?:y|ies)|interests|pastimes?|favou?rite (?:things? to do|activit(?:y|ies)|past ?times?|ways? to (?:relax|unwind|spend)))\b"
        rf"|\b(?:do|have) {_U} {_SOME}(?:have|got) (?:any )?{_SOME}(?:hobb(?:y|ies)|interests|pastimes?)\b|\bany (?:other )?(?:hobbies|interests)\b[^.!]*\?"
        r"|\bwhat kinds? of (?:things|stuff|activities) (?:do|are) (?:you|u) (?:\w+ )?(?:do|doing|like|enjoy|into)\b",
        r"\b(?:hobb(?:y|ies)|your (?:free|spare) time|for fun)\b",
        statement=r"\b(?:my hobb(?:y|ies)|(?:for fun|in my (?:free|spare) time)[, ]+i)\b|\bfor fun\b",
    ),
    _rule(
        "food foods meal meals dish dishes snack snacks dessert desserts cuisine restaurant restaurants fruit eat eating breakfast lunch dinner pizza "
        "sushi taco tacos pasta seafood steak chocolate cream spicy sweets burgers hamburgers cheese bacon chicken salad salads vegetables veggies "
        "meat noodles ramen pancakes waffles candy spaghetti lasagna curry favorite favourite mexican italian chinese topping toppings sandwich vegan vegetarian",
        rf"\bwhat(?:{_IS}|s)? (?:\w+ )?(?:of )?(?:your|ur|you) (?:\w+ )?(?:favou?rite|fav|fave) (?:\w+ ){{0,2}}?{_FOOD}\b"
        rf"|\b(?:do|have) (?:you|u) {_SOME}(?:have|got) (?:a |any )?favou?rite (?:\w+ )?{_FOOD}\b"
        rf"|\bwhat (?:kind|kinds|type|types|sort|sorts)?(?: of )?(?:\w+ )?(?:food|foods|meal|meals|dish|dishes|cuisine|snacks|desserts?|pizza|restaurants?) (?:do|did|would|are) (?:you|u) (?:\w+ )?(?:like|love|eat|enjoy|prefer|crave|favou?r|into)\b"
        r"|\bwhat (?:else )?(?:do|would) (?:you|u) (?:\w+ )?(?:like|love|want|enjoy|prefer) (?:to eat|eating)\b(?! out)"
        rf"|\bdo (?:you|u) (?:\w+ )?(?:like|love|enjoy|eat|prefer) (?:to eat |eating )?(?:\w+ )?{_EDIBLE}\b|\bwhat do (?:you|u) (?:\w+ )?eat\b"
        rf"|\byour (?:go to|go-to|favou?rite|fav) (?:\w+ )?(?:{_FOOD}|{_EDIBLE}|thing to (?:eat|cook|bake))\b[^.!]*\?|\bfavou?rite foods? ?\?",
        rf"\bfavou?rite (?:\w+ )?(?:{_FOOD}|{_EDIBLE})\b",
        statement=rf"\bmy favou?rite (?:\w+ )?{_FOOD} (?:is|are)\b|\bi (?:\w+ )?(?:love|like|enjoy|hate|eat) (?:to eat |eating )?(?:\w+ )?{_EDIBLE}\b|{_EDIBLE} is my favou?rite\b",
        veto=r"\b(?:food (?:network|show|channel|packages?)|dinner (?:for schmucks|party)|breakfast (?:club|at tiffany'?s)|fruit ninja|chicken run|hot tub)\b",
    ),
    _rule(
        "movie movies film films cinema trailer sequel prequel oscar oscars theater theatre theaters filmmaker seen watched watch saw actor actress "
        "director romcom romcoms comedies rom starred documentary documentaries",
        r"\b(?:have|did|do) (?:you|u) (?:\w+ )?(?:see|seen|watch|watched|like|enjoy) [^?!]{0,60}\(year\)"
        r"|\bwho(?:'?s| is| are) your favou?rite (?:\w+ )?(?:actor|actress|director|filmmaker)s?\b"
        r"|\bwhat(?:'?s| is| was)? (?:\w+ )?(?:a |the )?(?:good|best|last|favou?rite) (?:\w+ )?(?:movies?|films?)\b"
        rf"|\bwhat (?:kinds?|types?|sorts?|genres?)? ?(?:of )?(?:movies?|films?) (?:do|did|are|have|would) (?:you|u)\b",
        rf"\b{_MOVIE}\b",
        topic_needs_you=False,
        statement=rf"\bi (?:\w+ ){{0,2}}(?:love|like|enjoy|watch|watched|saw|hate)\b[^.!?]*\b{_MOVIE}\b",
        follow_up=True,
        veto=r"\b(?:film (?:me|you|him|her|it|us)|(?:to|being|get) film(?:ed)?)\b",
    ),
    _rule(
        "music song songs band bands concert concerts singer singers album albums musician musicians rapper rappers playlist instrument instruments "
        "lyrics spotify guitar piano drums violin tune tunes karaoke listen listening sing rap",
        r"\b(?:what|who) (?:\w+ ){0,3}?(?:do|are|did) (?:you|u) (?:\w+ ){0,3}?(?:listen|listening) to\b"
        r"|\bdo (?:you|u) (?:\w+ ){0,3}?(?:sing|rap|play (?:any |an )?(?:musical )?instruments?|play (?:the |any )?(?:guitar|piano|drums|violin))\b",
        rf"\b{_MUSIC}\b",
        topic_needs_you=False,
        statement=rf"\bi (?:\w+ ){{0,2}}(?:love|like|enjoy|play|hate|listen to|sing in)\b[^.!?]*\b{_MUSIC}\b",
        follow_up=True,
        veto=r"\b(?:band ?aids?|rubber bands?|wedding bands?|band of brothers|swan songs?|tune in|the (?:sound of music|music man)|surgical instruments?)\b",
    ),
    _rule(
        "politics politic political politically politician politicians election elections vote votes voted voting voter voters congress senate "
        "senator senators democrat democrats republican republicans parliament minister mayor trump obama clinton government president presidents "
        "presidential taxes liberal liberals conservative conservatives governor council house immigration gun",
        r"\bare (?:you|u) (?:\w+ )?(?:a )?(?:liberal|conservative|democrat|republican)\b|\b(?:do|did|will|are) (?:you|u) (?:\w+ )?vot(?:e|ing)\b(?! (?:for|on) (?:the )?(?:best|worst))",
        rf"\b{_POLITICS}\b",
        topic_needs_you=False,
        statement=rf"\b{_POLITICS}\b",
        follow_up=True,
        veto=r"\b(?:vice president of|(?:been |was |were )?voted (?:the |as )?(?:best|greatest|worst|most|into|off|number)|house of cards|council of|george clinton|(?:have|got|get) my vote)\b",
    ),
)


def _is_question(sentence: str) -> bool:
    return sentence.rstrip().endswith("?")


def _carries(rule: _Rule, text: str) -> bool:
    if rule.veto is not None:
        text = rule.veto.sub(" ", text)
    if rule.ask.search(text):
        return True
    sentences = _SENTENCE.findall(text)
    for position, sentence in enumerate(sentences):
        if not _is_question(sentence):
            continue
        if rule.topic is not None and rule.topic.search(sentence) and (not rule.topic_needs_you or _YOU.search(sentence)):
            return True
        before = sentences[position - 1] if position else ""
        if rule.statement is not None and _BOUNCE.search(sentence.rpartition(",")[2]):
            # "i have two dogs, and you?" states and bounces in one sentence
            if rule.statement.search(before) or rule.statement.search(sentence):
                return True
        if (
            rule.follow_up
            and rule.topic is not None
            and rule.topic.search(before)
            and _YOU.search(sentence)
            and len(sentence.split()) <= _MAX_FOLLOW_UP_WORDS
        ):
            return True
    return False


def _own_goals(text: str) -> tuple[str, ...]:
    words = set(_WORD.findall(text))
    return tuple(
        goal for goal, rule in zip(PUBLISHED_GOALS, _RULES, strict=True) if not rule.triggers.isdisjoint(words) and _carries(rule, text)
    )


def _plain(text: str) -> str:
    return " ".join(_YEAR.sub("(year)", text.translate(_SPELLINGS)).lower().split())


def weak_goals(line: str, previous: str = "") -> tuple[str, ...]:
    """The published goals which a line clearly carries out, in the order of `PUBLISHED_GOALS`.

    Args:
        line: what the goal speaker says, in any casing and spacing.
        previous: the utterance before it, "" where it opens the talk: "no. do you?" asks what was asked just before.

    Returns:
        Goal texts; () where nothing is clear.
    """
    text = _plain(line)
    goals = _own_goals(text)
    if goals or not previous or "?" not in text:
        return goals
    last = (_SENTENCE.findall(text) or [""])[-1]
    return _own_goals(_plain(previous)) if _BOUNCE.search(last.rpartition(",")[2]) else ()


def label(dialogue: Dialogue) -> Dialogue:
    """The dialogue with a guess on every line that has no label (`goals` None); labelled lines stay as they are."""
    turns = []
    previous = ""
    for turn in dialogue.turns:
        turns.append(turn if turn.goals is not None else dataclasses.replace(turn, goals=weak_goals(turn.line, previous)))
        previous = turn.reply or ""
    return dataclasses.replace(dialogue, turns=tuple(turns))
